"""The stand-in's model configuration, changed while models are served."""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import ServingError
from serving.server.flags import ServerOptions, UsageError, parse_flags
from serving.server.manager import ManagerSettings, ModelConfig, ModelManager, State
from serving.server.metrics import Metrics
from serving.server.model_config import read_model_config
from serving.server.request_log import LogConfig
from serving.server.versions import ALL_VERSIONS
from tests.serving.test_manager import managed, predicted_version, save_model, states, wait_for
from tests.serving.test_server import running


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("configured")
    for version in (1, 2):
        save_model(base, version)
    return base


def config_text(base: Path, name: str = "m", rest: str = "") -> str:
    return f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" {rest} }} }}\n'


def label(name: str, version: int) -> str:
    return f'version_labels {{ key: "{name}" value: {version} }} '


def test_models_come_and_go_and_policies_change(models: Path) -> None:
    with managed(ModelConfig("m", str(models))) as manager:
        with manager.use("m") as held:
            both = [ModelConfig("m", str(models), ALL_VERSIONS), ModelConfig("other", str(models))]
            manager.reconfigure(both)
            assert states(manager) == {1: State.AVAILABLE, 2: State.AVAILABLE}
            assert [status.state for status in manager.status("other")] == [State.AVAILABLE]
            manager.reconfigure(both[1:])
            assert manager.models == ["other"]
            assert states(manager)[2] is State.UNLOADING
            assert held.signatures
            with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Latest\(m\)"):
                predicted_version(manager)
        wait_for(lambda: set(states(manager).values()) == {State.END})
        manager.reconfigure([ModelConfig("m", str(models))])
        assert predicted_version(manager) == 2


def test_a_label_goes_to_an_available_version_only(models: Path) -> None:
    def labelled(**labels: int) -> ModelConfig:
        return ModelConfig("m", str(models), labels=labels)

    refused = "FAILED_PRECONDITION: Request to assign label to version 1 of model m, which is not currently available"
    with managed(labelled()) as manager:
        manager.reconfigure([labelled(stable=2)])
        with pytest.raises(ServingError, match=refused):
            manager.reconfigure([labelled(stable=2, canary=1), ModelConfig("other", str(models))])
        assert manager.models == ["m"]
        assert manager.labelled_version("m", "stable") == 2
        with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
            manager.labelled_version("m", "canary")
    lenient = ManagerSettings(poll_wait_s=0.05, labels_for_unavailable=True)
    manager = ModelManager([labelled()], lenient, Metrics())
    manager.start()
    manager.wait_until_looked()
    manager.reconfigure([labelled(stable=2, canary=1)])
    assert manager.labelled_version("m", "canary") == 1
    with pytest.raises(ServingError, match=refused):
        manager.reconfigure([labelled(stable=1)])
    manager.stop()


def test_stopping_does_not_wait_for_a_change(models: Path) -> None:
    with managed(ModelConfig("m", str(models))) as manager:
        changes = [ModelConfig(f"m{number}", str(models), ALL_VERSIONS) for number in range(30)]
        changer = threading.Thread(target=manager.reconfigure, args=(changes,))
        changer.start()
        time.sleep(0.05)
    changer.join(5)
    assert not changer.is_alive()


def file_options(file: Path, *flags: str) -> ServerOptions:
    return parse_flags([f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1", *flags])


def test_the_file_is_read_again(models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "models.config"
    file.write_text(config_text(models))
    caplog.set_level(logging.INFO, "serving")
    with running(file_options(file)) as server, server.rest as client:

        def versions(model: str = "m") -> list[str]:
            found = client.get(f"/{model}").json().get("model_version_status", [])
            return [one["version"] for one in found if one["state"] == "AVAILABLE"]

        assert versions() == ["2"]
        file.write_text(config_text(models, rest="model_version_policy { all {} } " + label("old", 1)))
        wait_for(lambda: versions() == ["2", "1"] or "not currently available" in caplog.text)
        # Loaded and labelled in one change is one too many, as in TF Serving.
        assert versions() == ["2"]
        file.write_text(config_text(models, rest="model_version_policy { all {} }"))
        wait_for(lambda: versions() == ["2", "1"])
        file.write_text(config_text(models, rest="model_version_policy { all {} } " + label("old", 1)))
        wait_for(lambda: client.get("/m/labels/old").status_code == 200)
        caplog.clear()
        file.write_text("model_config_list { config { nonsense")
        wait_for(lambda: "is not a ModelServerConfig" in caplog.text)
        time.sleep(2.2)
        (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
        assert warning.getMessage().endswith("; the models stay as they are")
        assert versions() == ["2", "1"]
        file.write_text(config_text(models, "other"))
        wait_for(lambda: versions("other") == ["2"])
        wait_for(lambda: versions() == [])


def test_a_file_that_is_not_to_be_read_again_is_not(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text(config_text(models))
    with running(parse_flags([f"--model_config_file={file}"])) as server, server.rest as client:
        file.write_text(config_text(models, "other"))
        time.sleep(1.5)
        assert client.get("/m").status_code == 200
        assert client.get("/other").status_code == 404


def reload_request(text: str) -> Any:
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return model_management_pb2.ReloadConfigRequest(config=config)


def test_a_client_changes_the_configuration(models: Path) -> None:
    with running(ServerOptions([ModelConfig("m", str(models))])) as server, server.channel() as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        change = config_text(models, "n", "model_version_policy { specific { versions: 1 } }")
        response = stub.HandleReloadConfigRequest(reload_request(change))
        assert response.HasField("status")
        assert response.status.error_code == 0
        with server.rest as client:
            assert client.get("/n").json()["model_version_status"][0]["version"] == "1"
            cases = [
                (config_text(models, "n", label("x", 2)), "FAILED_PRECONDITION", "which is not currently available"),
                (config_text(models, ""), "INVALID_ARGUMENT", "no name or no base_path"),
                ("", "INVALID_ARGUMENT", "Only ModelConfigList is currently supported"),
            ]
            for text, code, words in cases:
                with pytest.raises(grpc.RpcError) as caught:
                    stub.HandleReloadConfigRequest(reload_request(text))
                assert (caught.value.code().name, words in caught.value.details()) == (code, True)
            assert client.get("/n").status_code == 200


LOGGING = 'logging_config {{ log_collector_config {{ type: "{}" filename_prefix: "{}" }} sampling_config {{ {} }} }}'


@pytest.mark.parametrize(
    ("text", "log"),
    [
        (LOGGING.format("tf_example", "logs/m", "sampling_rate: 0.25"), LogConfig("logs/m", 0.25)),
        (LOGGING.format("tf_example", "logs/m", ""), None),
        ("", None),
    ],
)
def test_logging_config(tmp_path: Path, text: str, log: LogConfig | None) -> None:
    (tmp_path / "models.config").write_text(config_text(tmp_path, rest=text))
    (model,) = read_model_config(str(tmp_path / "models.config"))
    assert model.log == log


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        (LOGGING.format("x", "logs/m", ""), [], "the type in the log_collector_config of m is 'x', not 'tf_example'"),
        (LOGGING.format("tf_example", "", ""), [], "the log_collector_config of m has no filename_prefix"),
        (LOGGING.format("tf_example", "a", "sampling_rate: 2"), [], "the sampling_rate of m is 2, not within 0 and 1"),
        (LOGGING.format("tf_example", "/dev/null/m", "sampling_rate: 1"), [], "could not write logs to /dev/null"),
        (label("stable", 1), [], "give --allow_version_labels_for_unavailable_models"),
        ("", ["--request_log_folder=a"], "is logged by its logging_config, not by --request_log_folder"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, flags: Sequence[str], words: str) -> None:
    (tmp_path / "models.config").write_text(config_text(tmp_path, rest=text))
    with pytest.raises(UsageError) as caught:
        parse_flags([f"--model_config_file={tmp_path / 'models.config'}", *flags])
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
