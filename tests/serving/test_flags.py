"""The stand-in's command line."""

from pathlib import Path

import pytest

from serving.server.flags import UsageError, parse_flags
from serving.server.versions import ALL_VERSIONS


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path


def test_flags(models: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "a" base_path: "{models}" model_platform: "tensorflow"\n'
        'model_version_policy { specific { versions: 1 } } version_labels { key: "s" value: 1 } }\n'
        f'config {{ name: "b" base_path: "{models}" model_version_policy {{ all {{}} }} }} }}'
    )
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('# on\nprometheus_config { enable: true, path: "/metrics" }')
    flags = [f"--model_config_file={config}", "--monitoring_config_file", str(monitoring), "--rest_api_port=8501"]
    options = parse_flags([*flags, "--rest_api_enable_cors_support", "--allow_version_labels_for_unavailable_models"])
    assert [(model.name, model.labels) for model in options.models] == [("a", {"s": 1}), ("b", {})]
    assert options.models[0].policy.specific == frozenset({1})
    assert options.models[1].policy == ALL_VERSIONS
    assert (options.rest.metrics_path, options.rest.cors, options.host) == ("/metrics", True, "127.0.0.1")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "give either --model_base_path or --model_config_file"),
        (["--model_base_path=/nowhere"], "no such folder: /nowhere"),
        (["--model_config_file=/nowhere"], "could not read /nowhere: No such file"),
        ([f"--model_config_file={__file__}"], "is not a ModelServerConfig"),
        (["--model_base_path=/", f"--monitoring_config_file={__file__}"], "is not a MonitoringConfig"),
        (["--model_base_path=/", "--port=x"], "argument --port: 'x' is not a natural number"),
        (["--model_base_path=/", "--typo=1"], "unrecognized arguments: --typo=1"),
    ],
)
def test_mistakes_in_the_flags(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((UsageError, SystemExit)) as caught:
        parse_flags(flags)
    said = str(caught.value) if isinstance(caught.value, UsageError) else capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
