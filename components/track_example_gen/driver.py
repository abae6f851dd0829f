"""Makes the input's content part of TrackExampleGen's cache key, and whether the pretrained network can be had."""

from __future__ import annotations

from typing import Any

from tfx.components.example_gen import utils
from tfx.components.example_gen.driver import Driver
from tfx.orchestration import data_types

from components.track_example_gen.hearing import hears
from components.track_example_gen.spans import files_of, find_spans, fingerprint_of


class FingerprintDriver(Driver):
    """Adds a fingerprint of analyses and labels to the properties that the cache compares, and the newest span.

    Where the pretrained network cannot be had, or there is no sound, the property ``pretrained`` becomes ``off``.
    """

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
        if not hears(exec_properties["pretrained"], files_of(spans)):
            exec_properties["pretrained"] = "off"
        exec_properties[utils.SPAN_PROPERTY_NAME] = spans[-1].number
        exec_properties[utils.VERSION_PROPERTY_NAME] = None
        return exec_properties
