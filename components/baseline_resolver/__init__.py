"""Finds the model that a candidate has to stand up to."""
