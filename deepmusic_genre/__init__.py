"""Genres of music: audio analyses and sound files are read, and a served model is asked for the genre of tracks."""
