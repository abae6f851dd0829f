"""Synthetic demo data for running the pipeline without any data of one's own."""
