"""The small bundled CLIP; runs write below a folder of this name in the working directory."""
