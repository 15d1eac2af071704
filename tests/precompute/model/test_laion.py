"""laion_clap checkpoints: mistakes at once; audio as the package itself embeds it, without its hub (slow)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from precompute.errors import UserError
from precompute.model import laion, third_party
from precompute.model.clap import cut_crops
from precompute.model.laion import CROP, LaionClap

HEAD = {f"module.audio_projection.{k}.weight": torch.zeros(4, 4) for k in (0, 2)}
FIRST = "module.audio_branch.patch_embed.proj.weight"


def saved(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    torch.save({"state_dict": weights, "epoch": 1}, path)
    return path


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({}, "not a laion_clap checkpoint"),
        ({FIRST: torch.zeros(7, 1)}, "no HTSAT of a known size"),
        ({FIRST: torch.zeros(96, 1), "audio_branch.patch_embed.fusion_model.x": torch.zeros(1)}, "with fusion"),
    ],
)
def test_what_it_cannot_use_is_told_in_a_line(weights: dict[str, torch.Tensor], said: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "clap.pt", {**HEAD, **weights})
    with pytest.raises(UserError, match=said) as caught:
        LaionClap.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise ImportError("No module named 'laion_clap'")

    monkeypatch.setattr(third_party, "import_htsat", absent)
    with pytest.raises(UserError, match=r"needs the package laion-clap.*laion_clap"):
        LaionClap.load(saved(tmp_path / "clap.pt", {**HEAD, FIRST: torch.zeros(128, 1)}))


@pytest.mark.parametrize("samples", [1000, CROP // 3 + 1, CROP - 1, CROP])
def test_short_audio_is_repeated_whole_then_padded(samples: int) -> None:
    wave = np.linspace(-1.5, 1, samples).astype(np.float32)
    filled = laion._fill_crop(wave)
    assert filled.shape == (CROP,)
    whole = CROP // samples
    np.testing.assert_allclose(filled[: whole * samples], np.tile(np.clip(wave, -1, 1), whole), atol=1 / 32767)
    assert not filled[whole * samples :].any()


@pytest.mark.parametrize(
    ("samples", "lengths"), [(5, [5]), (10, [10]), (14, [10]), (15, [10]), (16, [10, 6]), (20, [10, 10])]
)
def test_crops_are_fixed(samples: int, lengths: list[int]) -> None:
    assert [len(crop) for crop in cut_crops(np.zeros(samples), 10)] == lengths


@pytest.mark.slow
def test_as_the_package_computes_it_and_never_online(tmp_path: Path) -> None:
    """In a process whose sockets are dead: load random weights of the published form, compare with the package."""
    script = f"""
import socket
def dead(*_, **__): raise OSError("no network here")
socket.socket.connect = dead
socket.create_connection = dead
import numpy as np, torch
from pathlib import Path
from types import SimpleNamespace
from precompute.model import laion, third_party
from torch import nn
from torch.nn import functional as F
torch.set_num_threads(1); torch.manual_seed(0)
branch = third_party.import_htsat()(SimpleNamespace(**laion.FEATURES, model_name="tiny")).eval()
head = nn.Sequential(nn.Linear(768, 512), nn.ReLU(), nn.Linear(512, 512))
weights = {{f"module.audio_branch.{{k}}": v for k, v in branch.state_dict().items()}}
weights |= {{f"module.audio_projection.{{k}}": v for k, v in head.state_dict().items()}}
weights["module.text_branch.x"] = torch.zeros(1)
path = Path({str(tmp_path)!r}) / "clap.pt"
torch.save({{"epoch": 1, "state_dict": weights}}, path)
ours = laion.LaionClap.load(path)
from training.data import get_audio_features, float32_to_int16, int16_to_float32
rng = np.random.default_rng(0)
wave = (0.3 * rng.standard_normal(170_000)).astype(np.float32)
short = torch.from_numpy(int16_to_float32(float32_to_int16(wave))).float()
sample = get_audio_features({{}}, short, 480_000, "rand_trunc", "repeatpad", {{}})
with torch.no_grad():
    found = branch({{"waveform": sample["waveform"][None]}}, mixup_lambda=None, device="cpu")["embedding"]
    theirs = F.normalize(head(found), dim=-1)
assert torch.allclose(ours.audio([wave]), theirs, atol=1e-5)
long = (0.3 * rng.standard_normal(1_300_000)).astype(np.float32)
assert torch.equal(ours.audio([long]), ours.audio([long]))
print("the same")
"""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "HF_HOME": str(tmp_path / "hub"),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    assert done.stdout.strip().endswith("the same"), done.stderr[-2000:]


@pytest.mark.slow
def test_a_hub_id_is_taken_from_the_cache_without_network(tmp_path: Path) -> None:
    """The demo's CLAP, put into a hub cache under another name."""
    root = Path(__file__).resolve().parents[3]
    home = tmp_path / "hub/models--someone--music-clap"
    (home / "refs").mkdir(parents=True)
    (home / "refs/main").write_text("0" * 40)
    shutil.copytree(root / "assets/demo/clap", home / "snapshots" / ("0" * 40))
    script = """
import socket
def dead(*_, **__): raise OSError("no network here")
socket.socket.connect = dead
socket.create_connection = dead
from precompute.errors import UserError
from precompute.methods.clap import open_clap
print(open_clap("someone/music-clap").sample_rate)
try:
    open_clap("someone/else")
except UserError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    rate, told = done.stdout.strip().splitlines()[-2:]
    assert int(rate) > 0 and told.startswith("someone/else: ") and "does not answer" in told, done.stderr[-2000:]
