"""Brings the curated schema into a run."""
