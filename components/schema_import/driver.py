"""Makes the schema's content part of SchemaImport's cache key."""

from __future__ import annotations

import hashlib
from typing import Any

from tfx.types.standard_component_specs import SCHEMA_FILE_KEY

from components.fingerprinting import FingerprintingDriver
from components.storage.files import fileio
from deepmusic_genre.errors import PipelineInputError


class SchemaDriver(FingerprintingDriver):
    """Adds a fingerprint of the schema file to the properties that the cache compares."""

    def fingerprint(self, exec_properties: dict[str, Any]) -> str:
        """The file's hash; raises PipelineInputError for a file that is not there."""
        path = exec_properties[SCHEMA_FILE_KEY]
        if not fileio.exists(path):
            raise PipelineInputError(f"The schema file {path} is not there.")
        with fileio.open(path, "rb") as file:
            return hashlib.blake2b(file.read(), digest_size=16).hexdigest()
