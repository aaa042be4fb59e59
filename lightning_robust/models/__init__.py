"""Encoders by name, the zero-shot head, classifiers and weight interpolation."""
