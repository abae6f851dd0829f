"""Checks that TF Serving will be able to serve a model, before it is pushed."""
