"""Training of the small CLEWS: its loss as published, its measure, and a tiny run by the verb itself."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.errors import UserError
from precompute.model.clews import Clews, ClewsShape, average_best_pairs, compute_distances, load_clews
from precompute.train.clews import (
    AugmentSettings,
    TrainClewsSettings,
    VersionSpectra,
    augment,
    compute_average_precision,
    compute_mean_average_precision,
    compute_version_loss,
    train_clews,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/clews.json").read_text())
DEMO = Path(__file__).resolve().parents[3] / "data/demo"

TOML = """
versions = "versions"
work = "work"
out = "out/clews.safetensors"
seed = 0
[material]
works = 6
held_out = 2
renderings = 2
[network]
window_s = 1.0
hop_s = 0.5
front = [4, 8]
blocks = [1, 1, 1, 1]
channels = [8, 8, 8, 8]
strides = [1, 2, 2, 1]
dimension = 8
[batch]
works = 3
windows = 2
[training]
steps = {steps}
learning_rate = 3e-3
warmup_steps = 2
save_every = 5
log_every = 10
bf16 = false
"""

BUILDER = """
import argparse, csv
from pathlib import Path
import numpy as np, soundfile
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path)
for name in ("--works", "--held-out", "--renderings"):
    parser.add_argument(name, type=int)
options = parser.parse_args()
options.out.mkdir(parents=True)
time = np.arange(24000) / 16000
with (options.out / "versions.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "work_id", "split"])
    for work in range(options.works):
        for k in range(options.renderings):
            pitch = 110 * 2 ** (np.floor(time * 4 * (work + 1)) % 5 / 12 * (work + 1))
            wave = np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.3 * k * np.sin(4 * np.pi * np.cumsum(pitch) / 16000)
            soundfile.write(options.out / f"{work}-{k}.wav", 0.3 * wave, 16000)
            split = "held-out" if work >= options.works - options.held_out else "train"
            table.writerow([f"{work}-{k}.wav", f"work-{work}", split])
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "builder.py").write_text(BUILDER)
    (tmp_path / "train.toml").write_text(TOML.format(steps=10))
    return tmp_path


def test_loss_as_published() -> None:
    embedded = torch.from_numpy(np.random.default_rng(12).standard_normal((8, 3, 6)) * 0.5).float()
    found = compute_version_loss(embedded, torch.arange(8) // 2)
    wanted = GOLDEN["loss"]
    for name, theirs in (("loss", "l_main"), ("align", "l_cent"), ("uniform", "l_cont")):
        assert float(found[name]) == pytest.approx(wanted[theirs], rel=1e-5)


def test_measure_of_many_at_once_is_that_of_each_pair() -> None:
    torch.manual_seed(0)
    network = Clews(ClewsShape(window_s=1, front=(4, 8), blocks=(1, 1, 1, 1), channels=(8, 8, 8, 8), dimension=8))
    spectra, counts = torch.rand(5, 3, 84, 40), [3, 2, 3, 1, 2]
    versions = VersionSpectra(spectra, counts, torch.tensor([0, 1, 0, 1, 1]))
    network.eval()
    with torch.no_grad():
        embedded = [network.embed(part[:count]) for part, count in zip(spectra, counts, strict=True)]
    wanted = []
    for query in range(5):
        far = [float(average_best_pairs(compute_distances(embedded[query], other), 5)) for other in embedded]
        order = [k for k in np.argsort(far, kind="stable") if k != query]
        wanted.append(compute_average_precision((versions.works[order] == versions.works[query]).numpy()))
    assert compute_mean_average_precision(network, versions) == pytest.approx(np.mean(wanted))


def test_average_precision_by_hand() -> None:
    assert compute_average_precision(np.array([1, 0, 0, 1, 0], bool)) == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert compute_average_precision(np.array([1, 1, 0], bool)) == 1
    assert compute_average_precision(np.array([0, 0, 1], bool)) == pytest.approx(1 / 3)


def test_augmenting_moves_a_tone_and_keeps_silence() -> None:
    tone = torch.zeros(2, 84, 40)
    tone[:, 40] = 1
    places = set()
    for seed in range(40):
        moved = augment(tone, AugmentSettings(semitones=5, mask=0.15), torch.Generator().manual_seed(seed))
        assert moved.shape == tone.shape and torch.equal(moved[0], moved[1])
        rows = torch.nonzero(moved[0].sum(1))[:, 0].tolist()
        assert len(rows) <= 1  # none where the silenced band lies on it
        places.update(rows)
    assert places == set(range(35, 46))
    none = torch.zeros(2, 84, 40)
    assert augment(none, AugmentSettings(semitones=5), torch.Generator().manual_seed(0)).abs().max() == 0
    same = AugmentSettings(semitones=0, slowest=1, fastest=1)
    assert torch.equal(augment(tone, same, torch.Generator().manual_seed(0)), tone)


def test_a_run_trains_measures_and_can_go_on(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = TrainClewsSettings.load(root / "train.toml", root)
    result = train_clews(settings, root / "builder.py", root / "result.json")
    row = result["rows"][0]
    assert json.loads((root / "result.json").read_text()) == result
    assert (row["works"], row["renderings"], result["trained_works"]) == (2, 4, 4)
    assert 0 < row["map"] <= 1 and 0 < row["map_chance"] < 1
    network = load_clews(root / "out/clews.safetensors")
    assert (
        network.shape
        == settings.network
        == ClewsShape(
            window_s=1,
            hop_s=0.5,
            front=(4, 8),
            blocks=(1, 1, 1, 1),
            channels=(8, 8, 8, 8),
            strides=(1, 2, 2, 1),
            dimension=8,
        )
    )
    assert "mAP" in capsys.readouterr().out

    with pytest.raises(UserError, match="--resume"):
        train_clews(settings, root / "builder.py", root / "result.json")
    (root / "builder.py").unlink()  # what is rendered is not rendered again
    (root / "train.toml").write_text(TOML.format(steps=12))
    longer = TrainClewsSettings.load(root / "train.toml", root)
    train_clews(longer, root / "builder.py", root / "result.json", resume=True)
    assert "resumed at step 10" in capsys.readouterr().out


def test_training_lowers_the_loss(root: Path) -> None:
    (root / "train.toml").write_text(TOML.format(steps=60))
    train_clews(TrainClewsSettings.load(root / "train.toml", root), root / "builder.py", root / "result.json")
    losses = [json.loads(line)["loss"] for line in (root / "work/clews.log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.2


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("works = 6", "works = 3", "held_out"),
        ("renderings = 2", "renderings = 1", "renderings"),
        ("dimension = 8", "dimensions = 8", "dimensions"),
        ("windows = 2", "windows = 0", "windows"),
        ("windows = 2", "pairs = 0", "pairs"),
        ("seed = 0", "", "seed"),
        ("steps = 10", "step = 10", "step"),
        ("[training]", "[augment]\nmask = 1.0\n[training]", "mask"),
        ("[training]", "[augment]\nslowest = 2.0\n[training]", "slowest"),
    ],
)
def test_mistakes_are_named(root: Path, old: str, new: str, named: str) -> None:
    path = root / "train.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=named):
        TrainClewsSettings.load(path, root)


def test_a_builder_that_fails_is_told(root: Path) -> None:
    (root / "builder.py").write_text("import sys; sys.exit(1)")
    with pytest.raises(UserError, match="could not be made"):
        train_clews(TrainClewsSettings.load(root / "train.toml", root), root / "builder.py", root / "result.json")


def test_the_demos_settings_are_read_and_small() -> None:
    settings = TrainClewsSettings.load(DEMO.parents[1] / "precompute/configs/train-clews.toml", DEMO.parents[1])
    network = Clews(settings.network)
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 3_000_000  # bytes in fp16
    assert (settings.network.window_s, settings.network.hop_s) == (4, 1)
    assert settings.material.works - settings.material.held_out >= 500 and settings.material.renderings >= 3


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("music21") is None, reason="needs music21's corpus")
def test_further_works_are_not_of_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DEMO))
    before = set(sys.modules)
    try:
        import versions
        from works import group, normalised

        with (DEMO / "manifest.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = versions.further_tunes()
        assert len(found) >= 1100
        titles = {normalised(row["title"]) for row in rows}
        assert not any(normalised(title) in titles for _, tune in found for title in tune.titles)
        places, _ = versions.corpus_tunes(DEMO / "manifest.csv")
        assert not any(f"{tune.file}, X:{tune.number}" in places for _, tune in found)
        tunes = [tune for _, tune in found]
        assert len(set(group(tunes))) == len(tunes)  # no two of them are one work
        made = versions.collect(6, 3, 2)
        assert len(made) == 18 and {r.split for r in made} == {"train", "held-out"}
        assert [r.track.piece for r in made] == [r.track.piece for r in versions.collect(6, 3, 2)]
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(DEMO)):
                del sys.modules[name]


def test_the_verb_tells_mistakes_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from precompute.cli.main import main

    assert main(["train-clews", "--config", str(tmp_path / "none.toml")]) == 1
    said = capsys.readouterr().err
    assert "none.toml" in said and said.count("\n") == 1
