"""Checkpoints of every kind give their weights, and nothing in them is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from precompute.errors import UserError
from precompute.model.weights import read_state


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
