"""What a component depends on beside its inputs and properties, as a part of its cache key."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME
from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types, data_types_utils, metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import driver_output_pb2


class FingerprintingDriver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Adds a fingerprint to the properties that the cache compares."""

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_base_driver.BaseDriver.__init__(self, metadata_handle)

    @abstractmethod
    def fingerprint(self, exec_properties: dict[str, Any]) -> str:
        """What stays equal for as long as an earlier execution's outputs may be taken."""

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """See the base class; raises what the fingerprint raises."""
        del pipeline_info, component_info
        return {**exec_properties, FINGERPRINT_PROPERTY_NAME: self.fingerprint(exec_properties)}

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See the base class."""
        output = driver_output_pb2.DriverOutput()
        for name, value in self.resolve_exec_properties(execution_info.exec_properties, None, None).items():
            data_types_utils.set_metadata_value(output.exec_properties[name], value)
        return output
