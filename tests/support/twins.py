"""Naive twins of the gradient methods: full gradients, and what tests of them share."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.common.cache import Cache
from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import BankSection, RunConfig, UnlearningSection
from precompute.gradients.context import Context, Queries, make_noise_bank
from precompute.gradients.fisher import compute_fisher
from precompute.gradients.flat_vectors import differentiate
from precompute.gradients.item_gradients import compute_objective
from precompute.gradients.steps import make_ascent_bank
from precompute.methods.base import MethodResult
from precompute.methods.catalogue import find_class
from precompute.model.diffusion import Items, Model

LAYERS, WIDE = "to_kv", 1 << 15  # a sketch wider than the gradient changes nothing
TARGETS = [0, 5, 10]
GRADIENT = [
    "unlearning",
    "unlearning-ekfac",
    "unlearning-gram",
    "influence",
    "influence-damped",
    "trak",
    "dtrak",
    "das",
    "trackstar",
]


def make_context(config: RunConfig, model: Model, items: Items, tracks, folder: Path, order=None) -> Context:
    """16 training tracks and 4 decoys; 2 decoys as shown clips, tracks as targets, further decoys as the cohort."""
    section = UnlearningSection(layers=LAYERS, ascent_draws=4, window_s=0.5)
    config = replace(config, unlearning=section, bank=BankSection(replicates=2, strata=2, seed=7))
    order = list(range(20)) if order is None else order
    return Context(
        model=model,
        tracks=[tracks[row] for row in order],
        items=items[order],
        queries=Queries(shown=items[[20, 21]], targets=items[TARGETS], cohort=items[[22, 23, 24]]),
        target_rows=np.array([order.index(row) for row in TARGETS]),
        bank=make_noise_bank(config.bank),
        config=config,
        cache=Cache(folder),
        key="key",
        track_key=f"tracks {order}",
    )


def make(name: str, context: Context, **changes):
    """A method with its defaults, changed."""
    defaults = METHOD_SETTINGS[name]
    settings = replace(defaults, **changes) if defaults is not None else None
    return find_class(name).create(settings, context.config, len(context.trained))


def scores(context: Context, name: str, **changes) -> MethodResult:
    method = make(name, context, **changes)
    result = method.compute_scores(method.focus(context), {})
    result.check(context)
    return result


def make_plain_context(model: Model, tracks: Items, queries: Queries, config: RunConfig, cache: Cache) -> Context:
    """For unlearning alone, with an identity as curvature and no targets looked up."""
    count = sum(p.numel() for p in model.parameters(config.unlearning.layers).values())
    return Context(
        model=model,
        tracks=[],
        items=tracks,
        queries=queries,
        target_rows=np.zeros(0, dtype=int),
        bank=make_noise_bank(config.bank),
        config=config,
        cache=cache,
        key="key",
        track_key="key",
        memo={"inverse-fisher": torch.ones(count)},
    )


@pytest.fixture(scope="module")
def context(config: RunConfig, model: Model, items: Items, tracks, tmp_path_factory) -> Context:
    return make_context(config, model, items, tracks, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def naive(context: Context):
    """Full gradients by kind, one autograd call a draw: tracks [N, R, P] and clips [Q + K, HALVES, P], float64."""

    @functools.cache
    def gradients(objective: str = "loss", normalised: bool = False) -> tuple[np.ndarray, np.ndarray]:
        def row(item: Items, bank, frames: int | None) -> np.ndarray:
            found = []
            for replicate in range(bank.replicates):
                cells = []
                for stratum in range(bank.strata):
                    t, eps = bank.cell(replicate, stratum, (model.latent_channels, model.frames))
                    predicted, target = model.predict(item.latents[0], model.condition(item), t, eps)
                    scalar = compute_objective(objective, predicted, target, frames)
                    cells.append(differentiate(scalar, model.parameters(LAYERS)).double().numpy())
                if normalised:
                    cells = [cell / np.linalg.norm(cell) for cell in cells]
                found.append(np.mean(cells, 0))
            return np.array(found)

        model = context.model
        own = make_ascent_bank(context.config.unlearning)
        of_tracks = [row(context.items[[i]], context.bank, None) for i in range(20)]
        clips = [context.select_clip(*clip) for clip in context.clips]
        return np.array(of_tracks), np.array([row(clip, own, int(clip.valid_frames[0])) for clip in clips])

    return gradients


@pytest.fixture(scope="module")
def of_loss(naive):
    return naive()


@pytest.fixture(scope="module")
def fisher(context: Context) -> np.ndarray:
    found = compute_fisher(context.model, context.items[range(16)], LAYERS, context.config.fisher)
    return found.double().numpy()


def agrees(found: MethodResult, cells: np.ndarray, cohort: np.ndarray, rel: float = 1e-4) -> None:
    """`cells` [Q, N, R, H] and `cohort` [K, N] of a twin."""
    assert found.cells.shape[3] == 1
    ours = found.cells[:, :, :, 0]
    if cells.shape[2] == 1:  # over all replicates
        ours = ours.mean(2, keepdims=True)
    assert np.abs(ours - cells).max() <= rel * np.abs(cells).max()
    assert np.abs(found.cohort - cohort).max() <= rel * np.abs(cohort).max()


def linear(tracks: np.ndarray, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products of [N, R, P] and [Q + K, H, P]; 5 clips are stored."""
    return np.einsum("irp,qhp->qirh", tracks, clips[:5]), clips[5:].mean(1) @ tracks.mean(1).T
