"""Runs models on the test split."""
