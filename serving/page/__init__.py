"""The page of the development server: drop a file on it, and see its tracks with their genres."""

from serving.page.application import page_application

__all__ = ["page_application"]
