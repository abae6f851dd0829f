"""Crawls Spotify playlists into a store of audio analyses."""
