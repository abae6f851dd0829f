"""``make benchmark``: what each component costs on a catalogue, and what the seed's way of reading it costs."""

from __future__ import annotations
