"""Makes the schema's content part of SchemaImport's cache key."""

from __future__ import annotations

import hashlib
from typing import Any

from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME
from tfx.dsl.components.base import base_driver
from tfx.dsl.io import fileio
from tfx.orchestration import data_types, data_types_utils, metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import driver_output_pb2
from tfx.types.standard_component_specs import SCHEMA_FILE_KEY

from components.errors import PipelineInputError


class SchemaDriver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Adds a fingerprint of the schema file to the properties that the cache compares."""

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_base_driver.BaseDriver.__init__(self, metadata_handle)

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """See the base class; raises PipelineInputError for a file that is not there."""
        del pipeline_info, component_info
        return {**exec_properties, FINGERPRINT_PROPERTY_NAME: _fingerprint(exec_properties[SCHEMA_FILE_KEY])}

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See the base class."""
        output = driver_output_pb2.DriverOutput()
        for name, value in self.resolve_exec_properties(execution_info.exec_properties, None, None).items():
            data_types_utils.set_metadata_value(output.exec_properties[name], value)
        return output


def _fingerprint(path: str) -> str:
    if not fileio.exists(path):
        raise PipelineInputError(f"The schema file {path} is not there.")
    with fileio.open(path, "rb") as file:
        return hashlib.blake2b(file.read(), digest_size=16).hexdigest()
