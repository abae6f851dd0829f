"""Makes the input's content part of TrackExampleGen's cache key."""

from __future__ import annotations

from typing import Any

from tfx.components.example_gen import utils
from tfx.components.example_gen.driver import Driver
from tfx.orchestration import data_types

from components.track_example_gen.spans import find_spans, fingerprint_of


class FingerprintDriver(Driver):
    """Adds a fingerprint of analyses and labels to the properties that the cache compares, and the newest span."""

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """See the base class; raises PipelineInputError for input that is not there."""
        del pipeline_info, component_info
        spans = find_spans(exec_properties["data"], exec_properties.get("labels"), exec_properties.get("spans"))
        exec_properties[utils.FINGERPRINT_PROPERTY_NAME] = fingerprint_of(spans)
        exec_properties[utils.SPAN_PROPERTY_NAME] = spans[-1].number
        exec_properties[utils.VERSION_PROPERTY_NAME] = None
        return exec_properties
