"""TFX's file input and output, which knows local paths and ``gs://``, with S3 added."""

from __future__ import annotations

from tfx.dsl.io import fileio
from tfx.dsl.io.filesystem_registry import DEFAULT_FILESYSTEM_REGISTRY

from components.storage.s3 import S3

__all__ = ["fileio"]

# The lower number comes first; TensorFlow claims the scheme with 10.
DEFAULT_FILESYSTEM_REGISTRY.register(S3, priority=0)
