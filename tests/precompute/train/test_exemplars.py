"""Exemplars: low-rank updates come and go without a trace, and training them moves nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.model.diffusion import Items, Model, NoiseBank, load_model, third_party
from precompute.train import exemplars
from precompute.train.diffusion import measure_mean_loss
from precompute.train.exemplars import (
    Exemplar,
    ExemplarSettings,
    choose_decoys,
    fine_tune,
    load_exemplar,
    make_exemplars,
    save_exemplar,
)
from precompute.train.lora import LowRankUpdate, apply_update, freeze_matrices, train_update

DECOY = 16  # row of a decoy among the fixture's tracks
SMALL = ExemplarSettings(rank=2, steps=4, draws=2, check_every=2, clips=2)
REALISTIC = Path(__file__).resolve().parents[3] / "precompute/configs/demo-model.json"


def bits(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def make_random_update(weights: dict[str, torch.Tensor], rank: int, scale: float = 0.5) -> LowRankUpdate:
    generator = torch.Generator().manual_seed(3)
    a = {n: torch.randn(rank, w.shape[1], generator=generator).half() * 0.1 for n, w in weights.items()}
    b = {n: torch.randn(w.shape[0], rank, generator=generator).half() * 0.1 for n, w in weights.items()}
    return LowRankUpdate(a, b, scale)


def make_exemplar(update: LowRankUpdate, sha256: str) -> Exemplar:
    return Exemplar(update, 17, "a caption", 1.5, 4, ((0, 0.5), (4, 0.25)), 0.1, None, sha256)


@pytest.fixture
def twin(config: RunConfig) -> Model:
    """A model of this test's own."""
    return load_model(config)


def test_merged_weights_are_w_plus_ba_and_leave_no_trace(twin: Model, items: Items) -> None:
    weights = freeze_matrices(twin)
    assert weights and all(w.ndim == 2 for w in weights.values())
    update, before, hashes = make_random_update(weights, 3), bits(twin), (twin.sha256, twin.inputs_sha256)
    t, eps = NoiseBank(1, 1, 4, seed=1).cell(0, 0, (twin.latent_channels, twin.frames))
    condition = twin.condition(items[[DECOY]])
    explicit = {n: w + 0.5 * update.b[n].float() @ update.a[n].float() for n, w in weights.items()}
    wanted = twin.frame_loss(items.latents[DECOY], condition, t, eps, weights=explicit)
    plain = twin.frame_loss(items.latents[DECOY], condition, t, eps)
    with apply_update(twin, update):
        assert torch.allclose(twin.frame_loss(items.latents[DECOY], condition, t, eps), wanted, rtol=1e-5, atol=1e-6)
        assert {twin.sha256, twin.inputs_sha256}.isdisjoint(hashes)
    assert not torch.allclose(wanted, plain)
    assert all(torch.equal(value, before[name]) for name, value in bits(twin).items())
    assert (twin.sha256, twin.inputs_sha256) == hashes


def test_the_bits_come_back_after_an_error(twin: Model) -> None:
    before = bits(twin)
    with pytest.raises(RuntimeError, match="inside"), apply_update(twin, make_random_update(freeze_matrices(twin), 2)):
        raise RuntimeError("inside")
    assert all(torch.equal(value, before[name]) for name, value in bits(twin).items())


def test_training_lowers_the_loss_of_its_track_and_touches_no_base_weight(twin: Model, items: Items) -> None:
    before, bank, item = bits(twin), NoiseBank(2, 8, 1, seed=9), items[[DECOY]]
    first = measure_mean_loss(twin, item, bank)
    settings = replace(SMALL, rank=4, steps=60, draws=8, check_every=30, learning_rate=5e-3)
    found = list(train_update(twin, item, settings))
    assert [step for step, _ in found] == [30, 60]
    with apply_update(twin, found[-1][1]):
        assert measure_mean_loss(twin, item, bank) < 0.97 * first
    assert all(torch.equal(value, before[name]) for name, value in bits(twin).items())
    assert all(p.grad is None and not p.requires_grad for p in twin.network.parameters())
    again = list(train_update(twin, item, settings))[-1][1]
    assert all(torch.equal(again.b[name], value) for name, value in found[-1][1].b.items())


def test_saved_and_loaded_it_is_the_same(model: Model, tmp_path: Path) -> None:
    one = make_exemplar(make_random_update(freeze_matrices(model), 2), model.sha256)
    save_exemplar(one, tmp_path / "one.safetensors")
    other = load_exemplar(tmp_path / "one.safetensors", model)
    assert replace(other, update=one.update) == one
    assert other.update.scale == one.update.scale
    for side in ("a", "b"):
        ours, theirs = getattr(one.update, side), getattr(other.update, side)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.safetensors"]


def test_pairs_of_other_weights_and_broken_files_are_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    save_exemplar(make_exemplar(make_random_update(freeze_matrices(model), 2), "0" * 64), path)
    with pytest.raises(UserError, match="other weights"):
        load_exemplar(path, model)
    path.write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="is not an exemplar"):
        load_exemplar(path, model)


@pytest.mark.parametrize("depth", [4, 6])
def test_a_file_of_the_demo_model_is_at_most_half_a_megabyte(tmp_path: Path, depth: int) -> None:
    config = json.loads(REALISTIC.read_text())
    config["model"]["diffusion"]["config"]["depth"] = depth
    weights = freeze_matrices(Model(third_party.create_network(config), config, None, sha256="x"))
    save_exemplar(
        make_exemplar(make_random_update(weights, ExemplarSettings().rank), "x"), tmp_path / "one.safetensors"
    )
    assert (tmp_path / "one.safetensors").stat().st_size <= 500_000


@pytest.mark.parametrize(
    ("distances", "steps", "crossed_at"),
    [
        ([0.9, 0.8, 0.7, 0.6], 6, None),  # never crossed: the last step
        ([0.9, 0.8, 0.7, 0.1], 4, 6),  # the last check before
        ([0.9, 0.1], 2, 2),  # the first check crosses: it is kept, and told
        ([0.1, 0.8], 2, 0),  # nearer before any training: trained to the first check
    ],
)
def test_training_stops_before_the_limit(
    twin: Model,
    items: Items,
    config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    distances: list[float],
    steps: int,
    crossed_at: int | None,
) -> None:
    told = iter(distances)
    monkeypatch.setattr(exemplars, "measure_clip_distance", lambda *_: next(told))
    made = fine_tune(twin, items[[DECOY]], torch.zeros(4), 0.5, 17, config, replace(SMALL, steps=6))
    assert (made.steps, made.crossed_at) == (steps, crossed_at)
    assert [d for _, d in made.distances] == distances  # nothing is measured after the crossing


def test_the_limit_is_a_percentile_of_the_decoys_nearest_tracks() -> None:
    angles = np.radians([0.0, 90.0, 10.0, 70.0])  # two tracks, two decoys: 10 and 20 degrees from their nearest
    embeddings = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], 1)).float()
    is_decoy = np.array([False, False, True, True])
    near, far = 1 - np.cos(np.radians(10)), 1 - np.cos(np.radians(20))
    assert exemplars.compute_nearness_limit(embeddings, is_decoy) == pytest.approx(near + 0.05 * (far - near), abs=1e-6)
    with pytest.raises(UserError, match="no decoys"):
        exemplars.compute_nearness_limit(embeddings, is_decoy & False)


def test_the_default_choice_is_heard_and_spread(tracks: list[Track]) -> None:
    chosen = choose_decoys(tracks, 4)
    assert all(t.is_decoy and t.path is not None for t in chosen)
    assert sorted(t.collection for t in chosen) == ["high", "high", "low", "low"]
    assert len({t.track_id for t in chosen}) == 4
    assert len(choose_decoys(tracks, 99)) == sum(t.is_decoy and t.path is not None for t in tracks)


def test_a_folder_is_made_and_finished_files_are_skipped(config: RunConfig, model: Model, tmp_path: Path) -> None:
    paths = make_exemplars(config, tmp_path, [17, 18], SMALL)
    assert [p.name for p in paths] == ["exemplar-0017.safetensors", "exemplar-0018.safetensors"]
    one = load_exemplar(paths[0], model)
    assert one.track_id == 17 and one.steps in (2, 4) and one.base_sha256 == model.sha256
    stamps = [p.stat().st_mtime_ns for p in paths]
    paths[1].unlink()
    make_exemplars(config, tmp_path, [17, 18], SMALL)
    assert paths[0].stat().st_mtime_ns == stamps[0] and paths[1].exists()


def test_mistakes_are_told(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="track 1 is no decoy"):
        make_exemplars(config, tmp_path, [1], SMALL)
    with pytest.raises(UserError, match="rank = 0"):
        ExemplarSettings(rank=0)
    with pytest.raises(UserError, match="clips = 0"):
        ExemplarSettings(clips=0)
