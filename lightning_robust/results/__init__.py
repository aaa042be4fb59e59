"""Frozen records with provenance, and their atomic reading and writing."""
