"""A program can tell a bad model from a bad configuration from the network."""

import pytest

from mergetrace.configuration.reading import load
from mergetrace.errors import (
    AuditError,
    ConfigurationError,
    ModelFileError,
    NetworkError,
)
from mergetrace.files.safetensors_file import read_model
from mergetrace.hub.pinned import open_reader
from mergetrace.hub.ranges import Patience


def test_every_class_is_an_error_that_a_user_can_fix():
    for kind in (ConfigurationError, ModelFileError, NetworkError):
        assert issubclass(kind, AuditError)


def test_a_folder_without_weights_is_a_bad_model(tmp_path):
    with pytest.raises(ModelFileError):
        read_model(tmp_path)


def test_a_missing_key_is_a_bad_configuration(tmp_path):
    (tmp_path / "audit.yaml").write_text("models: {}")
    with pytest.raises(ConfigurationError, match="models must list at least 1"):
        load(tmp_path / "audit.yaml")


def test_a_model_on_the_hub_needs_the_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = {"repo": "o/m", "commit": "0" * 40}
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        open_reader(source, {}, 1, Patience())
