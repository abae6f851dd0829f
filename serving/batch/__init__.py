"""Bulk tagging: a pushed model's answers to every track of a catalogue."""
