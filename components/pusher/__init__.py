"""Pusher: hands a model to the servers."""
