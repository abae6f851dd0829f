"""Makes the input's content part of TrackExampleGen's cache key, and whether the pretrained network can be had."""

from __future__ import annotations

import logging
from typing import Any

from tfx.components.example_gen import utils
from tfx.components.example_gen.driver import Driver
from tfx.orchestration import data_types

from components.track_example_gen.hearing import hears
from components.track_example_gen.known_files import KnownFiles
from components.track_example_gen.spans import files_of, find_spans, fingerprint_of

log = logging.getLogger("deepmusic.TrackExampleGen")

TRUST_TIMES = "trust_times"
"""The property that says whether a file of the same size and times is taken for unchanged."""


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
        files = KnownFiles(exec_properties.get("store"), trusted=bool(exec_properties.get(TRUST_TIMES, True)))
        exec_properties[utils.FINGERPRINT_PROPERTY_NAME] = fingerprint_of(spans, files.digest)
        files.save()
        if files.unread:
            counts = f"{files.unread:,} of {files.asked:,}"
            log.info("%s files are unchanged by their sizes and times, and were not read to compare them", counts)
        # How it was found out that nothing changed is nothing for the cache to compare.
        exec_properties[TRUST_TIMES] = 1
        if not hears(exec_properties["pretrained"], files_of(spans)):
            exec_properties["pretrained"] = "off"
        exec_properties[utils.SPAN_PROPERTY_NAME] = spans[-1].number
        exec_properties[utils.VERSION_PROPERTY_NAME] = None
        return exec_properties
