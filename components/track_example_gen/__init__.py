"""Reads audio analyses into tf.Examples, split by artist."""
