"""The pipeline's own TFX components, a folder each, and the functions that TFX's components call."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    # Kubeflow imports an artifact type as ``components.<Type>``; importing TFX for it waits until somebody asks, so
    # that settings are read and refused in a fraction of a second.
    # ``from components import artifacts`` would ask here for artifacts first, and never end.
    artifacts = import_module("components.artifacts")
    if name.startswith("_") or not hasattr(artifacts, name):
        raise AttributeError(f"module 'components' has no attribute {name!r}")
    return getattr(artifacts, name)
