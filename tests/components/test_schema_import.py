from pathlib import Path

import pytest
from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME

from components.schema_import.driver import SchemaDriver
from deepmusic_genre.errors import PipelineInputError


def _fingerprint(schema: Path) -> str:
    properties = SchemaDriver(None).resolve_exec_properties({"schema_file": str(schema)}, None, None)
    assert properties["schema_file"] == str(schema)
    return str(properties[FINGERPRINT_PROPERTY_NAME])


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    schema = tmp_path / "schema.pbtxt"
    schema.write_text("min: 1")
    before = _fingerprint(schema)
    schema.touch()
    assert _fingerprint(schema) == before
    schema.write_text("min: 2")
    assert _fingerprint(schema) != before


def test_a_schema_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match=r"none\.pbtxt is not there"):
        _fingerprint(tmp_path / "none.pbtxt")
