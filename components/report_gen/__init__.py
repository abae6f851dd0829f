"""Tells people and programs what a run came to."""
