"""The procedural scenes world."""
