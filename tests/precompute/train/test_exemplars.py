"""Training of exemplars: one update for all of them, which moves nothing else and stops in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.exemplars.files import load_exemplars
from precompute.exemplars.low_rank import apply_update
from precompute.model.diffusion import Items, Model, NoiseBank, load_model
from precompute.train import exemplars
from precompute.train.diffusion import measure_mean_loss
from precompute.train.exemplars import ExemplarSettings, choose_decoys, make_exemplars, measure_distances, tune_model
from precompute.train.lora import train_update
from support.tuned import copy_bits

DECOYS = [16, 17]  # rows of decoys among the fixture's tracks
SMALL = ExemplarSettings(rank=2, steps=4, draws=2, check_every=2, clips=2)


@pytest.fixture
def twin(config: RunConfig) -> Model:
    """A model of this test's own."""
    return load_model(config)


def test_training_lowers_the_loss_of_every_track_and_touches_no_base_weight(twin: Model, items: Items) -> None:
    before, bank, both = copy_bits(twin), NoiseBank(2, 8, 1, seed=9), items[DECOYS]
    first = [measure_mean_loss(twin, items[[row]], bank) for row in DECOYS]
    settings = replace(SMALL, rank=4, steps=60, draws=8, check_every=30, learning_rate=5e-3)
    made = list(train_update(twin, both, settings))
    assert [step for step, _ in made] == [30, 60]
    with apply_update(twin, made[-1][1]):
        for row, loss in zip(DECOYS, first, strict=True):
            assert measure_mean_loss(twin, items[[row]], bank) < 0.97 * loss
    assert all(torch.equal(value, before[name]) for name, value in copy_bits(twin).items())
    assert all(p.grad is None and not p.requires_grad for p in twin.network.parameters())
    again = list(train_update(twin, both, settings))[-1][1]
    assert all(torch.equal(again.b[name], value) for name, value in made[-1][1].b.items())


def test_a_step_is_that_of_the_mean_loss_of_all_draws(twin: Model, items: Items) -> None:
    """Against a loop over tracks and draws, in place of one batch."""
    settings = replace(SMALL, steps=1, check_every=1, learning_rate=2e-3)
    [(_, update)] = train_update(twin, items[DECOYS], settings)
    parameters = twin.parameters("all")
    bank, losses = NoiseBank(2, settings.draws, 1, seed=exemplars.seeds.EXEMPLAR_BANK + 1), []
    for place, row in enumerate(DECOYS):
        for stratum in range(settings.draws):
            t, eps = bank.cell(place, stratum, (twin.latent_channels, twin.frames))
            losses.append(twin.loss(items.latents[row], twin.condition(items[[row]]), t, eps))
    torch.stack(losses).mean().backward()
    for name, b in update.b.items():  # the first step of AdamW goes by the sign of the gradient, dL/dB = dL/dW A'
        wanted = -torch.sign(parameters[name].grad @ update.a[name].float().T)
        sure = b.abs() > 1e-3
        assert sure.float().mean() > 0.5
        assert (torch.sign(b.float())[sure] == wanted[sure]).float().mean() > 0.98


@pytest.mark.parametrize(
    ("distances", "steps", "crossed_at"),
    [
        ([(0.9, 0.9), (0.8, 0.8), (0.7, 0.9), (0.6, 0.7)], 6, (None, None)),  # never crossed: the last step
        ([(0.9, 0.9), (0.8, 0.8), (0.7, 0.7), (0.6, 0.1)], 4, (None, 6)),  # the last check before either crosses
        ([(0.9, 0.9), (0.1, 0.9)], 2, (2, None)),  # the first check crosses: it is kept, and told
        (
            [(0.1, 0.9), (0.8, 0.8), (0.2, 0.7), (0.8, 0.2)],
            4,
            (0, 6),
        ),  # one is near before any training: it stops nothing
    ],
)
def test_training_stops_before_the_limit_of_any(
    twin: Model,
    items: Items,
    config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    distances: list[tuple[float, float]],
    steps: int,
    crossed_at: tuple[int | None, int | None],
) -> None:
    measured = iter(distances)
    monkeypatch.setattr(exemplars, "measure_distances", lambda *_: list(next(measured)))
    settings = replace(SMALL, steps=6)
    made = tune_model(twin, items[DECOYS], torch.zeros(2, 4), [0.5, 0.5], [17, 18], config.clips, settings)
    assert made.steps == steps and tuple(one.crossed_at for one in made.exemplars) == crossed_at
    assert made.track_ids == [17, 18] and {one.limit for one in made.exemplars} == {0.5}
    for place, one in enumerate(made.exemplars):  # nothing is measured after the crossing
        assert one.distances == tuple((2 * check, pair[place]) for check, pair in enumerate(distances))


def test_a_distance_is_that_of_an_exemplar_s_nearest_clip(model: Model, items: Items, config: RunConfig) -> None:
    embeddings = exemplars.embed_audio(model, items[DECOYS])
    together = measure_distances(model, items[DECOYS], embeddings, config.clips, 2)
    alone = [
        measure_distances(model, items[[row]], embeddings[[k]], config.clips, 2)[0] for k, row in enumerate(DECOYS)
    ]
    assert together == pytest.approx(alone, abs=1e-5) and all(0 <= value <= 2 for value in together)
    one = measure_distances(model, items[DECOYS], embeddings, config.clips, 1)
    assert all(fewer >= more - 1e-5 for fewer, more in zip(one, together, strict=True))


def test_the_limit_is_a_percentile_of_the_decoys_nearest_tracks_or_nearer() -> None:
    angles = np.radians([0.0, 90.0, 10.0, 70.0])  # two tracks, two decoys: 10 and 20 degrees from their nearest
    embeddings = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], 1)).float()
    is_decoy = np.array([False, False, True, True])
    near, far = 1 - np.cos(np.radians(10)), 1 - np.cos(np.radians(20))
    limits = exemplars.compute_limits(embeddings, is_decoy, [3, 2])  # a training track is nearer to the second
    assert limits == pytest.approx([near + 0.05 * (far - near), near], abs=1e-6)
    with pytest.raises(UserError, match="no decoys"):
        exemplars.compute_limits(embeddings, is_decoy & False, [2])


def test_every_exemplar_has_a_limit_of_its_own(
    twin: Model, items: Items, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([(0.9, 0.9), (0.4, 0.9), (0.4, 0.5)])
    monkeypatch.setattr(exemplars, "measure_distances", lambda *_: list(next(measured)))
    made = tune_model(twin, items[DECOYS], torch.zeros(2, 4), [0.3, 0.6], [17, 18], config.clips, SMALL)
    assert made.steps == 2 and [one.crossed_at for one in made.exemplars] == [None, 4]
    assert [one.limit for one in made.exemplars] == [0.3, 0.6]


def test_the_default_choice_is_heard_and_spread(tracks: list[Track]) -> None:
    chosen = choose_decoys(tracks, 4)
    assert all(t.is_decoy and t.path is not None for t in chosen)
    assert sorted(t.collection for t in chosen) == ["high", "high", "low", "low"]
    assert len({t.track_id for t in chosen}) == 4
    assert len(choose_decoys(tracks, 99)) == sum(t.is_decoy and t.path is not None for t in tracks)
    shown = {chosen[0].caption}
    assert not shown & {t.caption for t in choose_decoys(tracks, 99, shown)}


def test_a_file_is_made_once(config: RunConfig, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "exemplars.safetensors"
    made = make_exemplars(config, path, [17, 18], SMALL)
    assert made.track_ids == [17, 18] and made.steps in (2, 4) and made.base_sha256 == model.sha256
    assert load_exemplars(path, model).exemplars == made.exemplars
    stamp = path.stat().st_mtime_ns
    assert make_exemplars(config, path, [17, 18], SMALL).exemplars == made.exemplars
    assert path.stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"holds the exemplars \[17, 18\], not \[17, 19\]; delete it"):
        make_exemplars(config, path, [17, 19], SMALL)


def test_mistakes_are_told(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    with pytest.raises(UserError, match="track 1 is no decoy"):
        make_exemplars(config, path, [1], SMALL)
    with pytest.raises(UserError, match="a track stands twice"):
        make_exemplars(config, path, [17, 17], SMALL)
    with pytest.raises(UserError, match="count = 0"):
        make_exemplars(config, path, settings=SMALL, count=0)
    with pytest.raises(UserError, match="rank = 0"):
        ExemplarSettings(rank=0)
    with pytest.raises(UserError, match="clips = 0"):
        ExemplarSettings(clips=0)
    assert not path.exists()
