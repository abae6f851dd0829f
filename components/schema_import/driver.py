"""Makes the schema's content part of SchemaImport's cache key."""

from __future__ import annotations

import hashlib
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types.standard_component_specs import SCHEMA_FILE_KEY

from components.fingerprinting import FingerprintingDriver
from components.storage.files import fileio
from deepmusic_genre.errors import PipelineInputError


class SchemaDriver(FingerprintingDriver):
    """Adds a fingerprint of the schema file to the properties that the cache compares."""

    def fingerprint(self, exec_properties: dict[str, Any]) -> str:
        """The file's hash.

        Raises:
            PipelineInputError: The file is not there, is no schema, or asks for a comparison that no step makes.
        """
        path = exec_properties[SCHEMA_FILE_KEY]
        if not fileio.exists(path):
            raise PipelineInputError(f"The schema file {path} is not there.")
        with fileio.open(path, "rb") as file:
            content = file.read()
        _require_no_comparators(content, path)
        return hashlib.blake2b(content, digest_size=16).hexdigest()


def _require_no_comparators(content: bytes, path: str) -> None:
    """Refuses what ExampleValidator would pass over: it gets the statistics of one run alone."""
    schema = schema_pb2.Schema()
    try:
        text_format.Parse(content, schema)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise PipelineInputError(f"{path} is not a schema: {error}.") from error
    parts: dict[str, Any] = {f"feature {feature.name}": feature for feature in schema.feature}
    parts["dataset_constraints"] = schema.dataset_constraints
    for where, part in parts.items():
        for field, _ in part.ListFields():
            if field.name.endswith("_comparator"):
                raise PipelineInputError(
                    f"{path}: {where} has a {field.name}, and no step compares a run with another one or with what is"
                    " served. Remove it; `deepmusic drift` compares served tracks with the training tracks."
                )
