"""A page for the stand-in's root: drop an analysis file, see what the model makes of it and what it looks like."""

from serving.page.application import PageApplication

__all__ = ["PageApplication"]
