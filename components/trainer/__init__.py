"""Trains a network on transformed tracks and exports it for serving."""

from __future__ import annotations

from typing import Literal

ModelName = Literal["c1m1"]
"""The networks there are; ``models.py`` defines them, this name can be had without importing Keras."""
