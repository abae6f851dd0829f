"""Trains a model on transformed tracks and exports it for serving."""
