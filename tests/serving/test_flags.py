"""The stand-in's command line."""

from pathlib import Path

import pytest

from serving.server.flags import ServerOptions, UsageError, parse_flags
from serving.server.request_log import LogConfig
from serving.server.rest import RestSettings

pytestmark = pytest.mark.fast


def test_flags(tmp_path: Path) -> None:
    base = f"--model_base_path={tmp_path}"
    assert parse_flags([base]) == ServerOptions("default", str(tmp_path))
    log = LogConfig(str(tmp_path / "log" / "m"), 0.5, 1000)
    given = ["--model_name=m", "--port=1", "--rest_api_port", "2", "--rest_api_timeout_in_ms=500", "--host=::1"]
    switches = ["--page", "--rest_api_enable_cors_support=true"]
    logging = [f"--request_log_folder={tmp_path / 'log'}", "--request_log_sampling_rate=0.5"]
    options = parse_flags([base, *given, *switches, *logging, "--request_log_max_bytes=1000"])
    rest = RestSettings(timeout_s=0.5, cors=True)
    assert options == ServerOptions("m", str(tmp_path), rest=rest, host="::1", port=1, rest_port=2, page=True, log=log)
    assert not parse_flags([base, "--page=false"]).page


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "Missing option '--model_base_path'"),
        (["--model_base_path=/nowhere"], "Directory '/nowhere' does not exist"),
        (["--model_base_path=/", "--port=x"], "'--port': 'x' is not a valid integer"),
        (["--model_base_path=/", "--port=65536"], "65536 is not in the range"),
        (["--model_base_path=/", "--typo=1"], "No such option"),
        (["--model_base_path=/", "--request_log_folder=/dev/null/a"], "could not write logs to /dev/null/a"),
    ],
)
def test_mistakes_in_the_flags(flags: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags(flags)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_help_tells_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_flags(["--help"])
    assert caught.value.code == 0
    assert "--model_base_path" in capsys.readouterr().out
