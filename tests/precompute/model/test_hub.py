"""Models by name: one clear line where something is missing, and never a hang."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from precompute.config.run import ModelSection
from precompute.errors import UserError
from precompute.model import hub


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub at a port where nothing listens."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


def keep(cache: Path, repo: str, **files: str) -> Path:
    """Files of a repository in the cache, as the hub's own client lays them out."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    for name, text in files.items():
        (folder / "snapshots" / ("0" * 40) / name.replace("_json", ".json").replace("_ckpt", ".ckpt")).write_text(text)
    return folder / "snapshots" / ("0" * 40)


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_one_line_at_once(no_network, monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    began = time.monotonic()
    with pytest.raises(
        UserError, match=r"stabilityai/stable-audio-open-1.0: model_config.json is not on this"
    ) as caught:
        hub.find_config_file(ModelSection(name="stable-audio-open-1.0"))
    assert time.monotonic() - began < 10 and "\n" not in str(caught.value)


def test_what_is_on_this_machine_needs_no_network(no_network) -> None:
    files = keep(no_network, "stabilityai/stable-audio-open-small", model_config_json="{}", model_ckpt="weights")
    section = ModelSection(name="stable-audio-open-small")
    assert hub.find_config_file(section) == files / "model_config.json"
    assert hub.find_checkpoint_file(section) == files / "model.ckpt"  # there is no safetensors file


def test_a_name_is_short_or_whole() -> None:
    assert hub.find_repository("stable-audio-open-1.0") == "stabilityai/stable-audio-open-1.0"
    assert hub.find_repository("me/mine") == "me/mine"
    for name in ("stable-audio", "a/b/c", "/b"):
        with pytest.raises(UserError, match=r"\[model\] name = .*: choose one of stable-audio-open-1.0, "):
            hub.find_repository(name)


@pytest.mark.parametrize(
    "values", [{}, {"config": "a"}, {"name": "a", "checkpoint": "b"}, {"name": "a", "config": "a", "checkpoint": "b"}]
)
def test_a_model_is_named_in_one_way(values: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"\[model\] needs either config and checkpoint, or name, and not both"):
        ModelSection(**values)


def test_a_missing_text_encoder_is_told_before_anything_is_built(no_network) -> None:
    config = {"model": {"conditioning": {"configs": [{"id": "prompt", "type": "t5", "config": {}}]}}}
    assert hub.list_text_encoders(config) == ["t5-base"] == hub.list_missing_encoders(config)
    message = "t5-base: the text encoder of this model is not on this machine"
    with pytest.raises(UserError, match=message), hub.allow_encoders(config):
        raise AssertionError("not reached")
    folder = keep(no_network, "t5-base", config_json="{}", tokenizer_json="{}")
    assert hub.list_missing_encoders(config) == ["t5-base"]  # its weights are not there
    (folder / "model.safetensors").write_text("")
    with hub.allow_encoders(config):
        assert constants.HF_HUB_OFFLINE  # nobody is asked
    assert not constants.HF_HUB_OFFLINE
