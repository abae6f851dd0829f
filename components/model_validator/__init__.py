"""Decides whether a model is good enough to be pushed."""
