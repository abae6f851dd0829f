from pathlib import Path

import pytest
from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME

from components.schema_import.driver import SchemaDriver
from deepmusic_genre.errors import PipelineInputError

pytestmark = pytest.mark.fast


def _fingerprint(schema: Path) -> str:
    properties = SchemaDriver(None).resolve_exec_properties({"schema_file": str(schema)}, None, None)
    assert properties["schema_file"] == str(schema)
    return str(properties[FINGERPRINT_PROPERTY_NAME])


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "timbre_01" }')
    before = _fingerprint(schema)
    schema.touch()
    assert _fingerprint(schema) == before
    schema.write_text('feature { name: "timbre_02" }')
    assert _fingerprint(schema) != before


def test_a_schema_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match=r"none\.pbtxt is not there"):
        _fingerprint(tmp_path / "none.pbtxt")


@pytest.mark.parametrize(
    ("asking", "told"),
    [
        ('feature { name: "timbre_01" drift_comparator { infinity_norm { threshold: 0.1 } } }', "drift_comparator"),
        ('feature { name: "timbre_01" skew_comparator { infinity_norm { threshold: 0.1 } } }', "skew_comparator"),
        (
            "dataset_constraints { num_examples_drift_comparator { min_fraction_threshold: 0.5 } }",
            "dataset_constraints",
        ),
    ],
)
def test_a_comparison_that_no_step_makes_is_refused(asking: str, told: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(asking)
    with pytest.raises(PipelineInputError, match=told):
        _fingerprint(schema)


def test_what_is_no_schema_is_named(tmp_path: Path) -> None:
    schema = tmp_path / "schema.pbtxt"
    schema.write_text("min: 1")
    with pytest.raises(PipelineInputError, match=rf"{schema} is not a schema"):
        _fingerprint(schema)
