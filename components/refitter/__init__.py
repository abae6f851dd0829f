"""Fits the selected model to every track."""
