"""Images: the scenes world, data sets, their shifts and concept sets."""
