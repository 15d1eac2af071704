"""Models by name, and checkpoints of every kind: one clear line where something is missing, and never a hang."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from precompute.common.files import hash_file
from precompute.config.run import ModelSection
from precompute.errors import UserError
from precompute.model import hub
from precompute.model.weights import read_state


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


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_ckpt_gives_its_weights(tmp_path: Path) -> None:
    state = {"model.a": torch.ones(2, dtype=torch.float16)}
    for number, content in enumerate((state, {"state_dict": state, "epoch": 3})):
        torch.save(content, tmp_path / f"{number}.ckpt")
        found = read_state(tmp_path / f"{number}.ckpt")
        assert list(found) == ["model.a"] and found["model.a"].dtype == torch.float32


def test_a_training_checkpoint_gives_its_averaged_weights(tmp_path: Path) -> None:
    state = {
        "diffusion.model.a": torch.zeros(2),
        "diffusion.conditioner.b": torch.ones(2),
        "diffusion_ema.ema_model.a": torch.full((2,), 5.0),
        "losses.c": torch.ones(1),
    }
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    found = read_state(tmp_path / "last.ckpt")
    assert {name: float(value[0]) for name, value in found.items()} == {"model.a": 5.0, "conditioner.b": 1.0}


class Trap:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("trapped"),))


def test_nothing_in_a_ckpt_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "hook": Trap()}, "bad.ckpt")
    with pytest.raises(UserError, match="holds more than weights, or is damaged, and is not run"):
        read_state(Path("bad.ckpt"))
    assert not Path("trapped").exists()
    torch.save([1, 2], "list.ckpt")
    with pytest.raises(UserError, match="holds no table of weights"):
        read_state(Path("list.ckpt"))


def test_a_hash_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a").startswith("ba7816bf")
