"""What a command's process ends with; one that somebody stopped with 128 and the signal's number."""

from __future__ import annotations

OK = 0
"""The run came to its end, and its model is pushed, or was by an earlier run."""

FAULT = 1
"""The settings, the data or a fault stopped the run."""

GATE = 3
"""A gate kept the model from being pushed: AnomalyGate, ModelValidator or ModelCheck."""
