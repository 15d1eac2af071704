"""The methods that compare sounds or activations, on the tiny model: naive twins, duplicates, order."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from precompute.common.cache import Cache
from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.gradients.context import Context
from precompute.methods import clap, lpips, rps
from precompute.methods.catalogue import build_method, find_class
from precompute.methods.patches import cut_patches
from precompute.model.activations import (
    collect_layer_outputs,
    collect_output_layer,
    collect_output_targets,
    count_layers,
    get_transformer,
)
from precompute.model.clap import Clap
from precompute.model.diffusion import Items, Model, NoiseBank
from support import comparing
from support.comparing import BANK, NAMES, ROWS, run


@pytest.fixture(scope="module")
def clews_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return comparing.write_clews(tmp_path_factory.mktemp("clews") / "clews.safetensors")


@pytest.fixture(scope="module")
def fitted(config: RunConfig, items: Items) -> Model:
    return comparing.fit_model(config, items)


@pytest.fixture
def context(
    model: Model, items: Items, tracks: list[Track], config: RunConfig, clews_file: Path, tmp_path: Path
) -> Context:
    return comparing.make_context(model, items, tracks, config, clews_file, tmp_path / "cache")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mucs"])
def test_an_exact_duplicate_comes_first(context: Context, fitted: Model, name: str) -> None:
    score = run(replace(context, model=fitted), name).score
    assert score[0].argmax() == 0, score[0]  # ROWS[0] is the first clip
    assert score[1].argmax() == 3, score[1]
    assert score[2].argmax() == 2, score[2]


@pytest.mark.parametrize("name", NAMES)
def test_order_and_resuming_change_nothing(context: Context, name: str, tmp_path: Path) -> None:
    first = run(context, name)
    again = run(context, name)  # from what was kept
    np.testing.assert_array_equal(first.cells, again.cells)
    turned = list(range(len(ROWS)))[::-1]
    other = replace(
        context,
        tracks=[context.tracks[row] for row in turned],
        items=context.items[turned],
        target_rows=np.array([len(ROWS) - 1 - 2]),
        cache=Cache(tmp_path / "other"),
    )
    second = run(other, name)
    np.testing.assert_allclose(first.cells, second.cells[:, turned], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(first.cohort, second.cohort[:, turned], rtol=1e-4, atol=1e-9)


def test_methods_say_what_they_are() -> None:

    for name in NAMES:
        kind = find_class(name)
        assert kind.name == name and kind.label and kind.description.endswith(".") and kind.cost and kind.needs
    for name in ("lpips", "rps", "rps-ridge"):
        assert "our reading" in find_class(name).label


# -- CLAP ------------------------------------------------------------------------------------------------------------


def test_clap_is_the_cosine_of_embeddings(context: Context) -> None:
    folder = Path(context.config.model.clap)
    own = Clap.load(folder)
    found = run(context, "clap").score
    waves = [
        context.load_audio("shown", 1, own.sample_rate)[0].mean(0),
        context.load_audio("tracks", 4, own.sample_rate)[0].mean(0),
    ]
    one, other = own.audio(waves).double()
    assert found[1, 4] == pytest.approx(float(one @ other), abs=1e-6)
    assert found[1, 3] == pytest.approx(1.0, abs=1e-6)


def test_clap_that_is_not_there_is_told_in_a_line(context: Context) -> None:
    bare = replace(context.config, model=replace(context.config.model, clap=""))
    method = build_method("clap", bare, 4)
    assert "[methods.clap] model" in (method.find_obstacle(replace(context, config=bare)) or "")
    for name in ("nowhere.pt", "no/such/folder", "/nowhere"):
        with pytest.raises(UserError) as caught:
            clap.open_clap(name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_hub_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, timeout: float, **__: Any) -> None:
        assert timeout <= 5
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(UserError, match="the hub does not answer"):
        clap.open_clap("someone/music-clap")


# -- patches ---------------------------------------------------------------------------------------------------------


def test_patches_are_found_wherever_they_are(context: Context) -> None:
    """Against a loop over all places; a clip that is a track has distance 0 to it."""
    found = run(context, "patches").score
    assert found[1, 3] == pytest.approx(0.0, abs=1e-6) and (found <= 0).all()
    clip, rate = context.queries.shown, context.model.frame_rate
    for row in (1, 4):
        wanted = []
        for length in (round(0.25 * rate), round(0.5 * rate), round(rate)):
            one, other = (items.latents[i].double().numpy() for items, i in ((clip, 0), (context.items, row)))
            ends = int(clip.valid_frames[0]), int(context.items.valid_frames[row])
            nearest = []
            for start in range(0, ends[0] - length + 1, length // 2):
                own = one[:, start : start + length]
                places = range(ends[1] - length + 1)
                nearest.append(min(np.square(own - other[:, p : p + length]).mean() for p in places))
            wanted.append(np.mean(nearest))
        assert found[0, row] == pytest.approx(-np.mean(wanted), rel=1e-4)


def test_a_recording_shorter_than_a_patch_is_one_patch() -> None:
    latents = torch.arange(12.0).reshape(2, 6)
    assert cut_patches(latents, 3, 4, 1).tolist() == [[0, 1, 2, 2, 6, 7, 8, 8]]
    assert cut_patches(latents, 6, 4, 2).shape == (2, 8)


# -- CLEWS -----------------------------------------------------------------------------------------------------------


def test_clews_is_minus_the_distance_of_window_pairs(context: Context, clews_file: Path) -> None:
    from precompute.model.clews import load_clews

    network, found = load_clews(clews_file), run(context, "clews").score
    one = network.embed_recording(context.load_audio("shown", 0, 16_000)[0].mean(0)).astype(np.float64)
    for row in range(len(ROWS)):
        other = network.embed_recording(context.load_audio("tracks", row, 16_000)[0].mean(0)).astype(np.float64)
        between = ((one[:, None] - other[None]) ** 2).mean(-1)
        pairs = min(5, *between.shape)
        used: list[tuple[int, int]] = []
        order = sorted(itertools.product(*map(range, between.shape)), key=lambda p: between[p])
        for place in order:
            if all(place[0] != r and place[1] != c for r, c in used) and len(used) < pairs:
                used.append(place)
        assert found[0, row] == pytest.approx(-np.mean([between[p] for p in used]), abs=1e-6)


def test_clews_without_its_checkpoint(context: Context) -> None:
    settings = {"clews": replace(METHOD_SETTINGS["clews"], checkpoint="nowhere.ckpt")}
    method = build_method(
        "clews", replace(context.config, methods=replace(context.config.methods, settings=settings)), 4
    )
    assert "nowhere.ckpt" in (method.find_obstacle(context) or "")


# -- activations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [False, True])
def test_lpips_against_a_plain_loop(context: Context, model: Model, pooled: bool) -> None:
    settings = {"lpips": replace(METHOD_SETTINGS["lpips"], layers=2, pooled=pooled, strata=1)}
    changed = replace(
        context, config=replace(context.config, methods=replace(context.config.methods, settings=settings))
    )
    found = run(changed, "lpips")
    clip, track = context.select_clip("shown", 1), context.items[[4]]
    valid = int(min(clip.valid_frames[0], track.valid_frames[0]))
    wanted = []
    for replicate in range(2):
        t, eps = NoiseBank(2, 1, 1, BANK.seed).cell(replicate, 0, (model.latent_channels, model.frames))
        parts = []
        for layer in range(count_layers(model)):  # two layers in all
            one, other = (collect_layer_outputs(model, item, t / 2, eps, [layer])[0][0] for item in (clip, track))
            if pooled:
                one = one[: clip.valid_frames[0]].mean(0, keepdim=True)
                other = other[: track.valid_frames[0]].mean(0, keepdim=True)
            for f in range(1 if pooled else valid):
                difference = one[f] / one[f].norm() - other[f] / other[f].norm()
                parts.append(float(difference.square().sum()))
        wanted.append(-np.mean(parts))
    np.testing.assert_allclose(found.cells[1, 4, :, 0, 0], wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("layers", "wanted", "chosen"), [(4, 4, [0, 1, 2, 3]), (24, 4, [5, 11, 17, 23]), (2, 9, [0, 1])]
)
def test_layers_are_spread_evenly(layers: int, wanted: int, chosen: list[int]) -> None:
    assert lpips.choose_layers(layers, wanted) == chosen


def test_rps_is_the_double_sum_over_frames(context: Context, model: Model) -> None:
    found = run(context, "rps").cells
    clip, track = context.select_clip("shown", 1), context.items[[4]]
    t, eps = BANK.cell(1, 0, (model.latent_channels, model.frames))
    one, other = (collect_output_layer(model, item, t, eps, int(item.valid_frames[0])) for item in (clip, track))
    wanted = float(((one.h[0] @ other.h[0].T) * (one.g[0] @ other.g[0].T)).sum())
    assert found[1, 4, 1, 0, 0] == pytest.approx(wanted, rel=1e-4)


def test_refitted_output_layer_is_a_sum_over_tracks(context: Context, model: Model) -> None:
    """The representer theorem: W* is the sum of -g h^T / (2 lambda n) over training tracks, draws and frames."""
    draws = [BANK.cell(*cell, (model.latent_channels, model.frames)) for cell in BANK.cells()]
    t, eps = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
    parts = []
    for row in context.trained:
        valid = int(context.items.valid_frames[row])
        parts.append(
            tuple(part[:, :valid].double() for part in collect_output_targets(model, context.items[[row]], t, eps))
        )
    total = sum((rps.RidgeSums.collect(*p) for p in parts[1:]), rps.RidgeSums.collect(*parts[0]))
    weights, penalty = total.solve(0.05)
    alpha_h = [rps.differentiate_ridge(h, y, weights).sum(0) / (-2 * penalty * total.count) for h, y in parts]
    torch.testing.assert_close(sum(alpha_h[1:], alpha_h[0]), weights, atol=1e-9, rtol=1e-6)
    assert get_transformer(model).project_out.weight.shape == weights.shape


def test_rps_ridge_is_the_fall_of_the_clips_loss(context: Context, model: Model) -> None:
    """Score = <a track's part of W*, -dL/dW> under the draws of a cell, by autograd."""
    ridge = METHOD_SETTINGS["rps-ridge"].ridge
    found = run(context, "rps-ridge").cells
    method = build_method("rps-ridge", context.config, 4)
    total = method._sum_tracks(method.focus(context))
    weights, penalty = total.solve(ridge)
    t, eps = BANK.cell(0, 1, (model.latent_channels, model.frames))

    def gradient(item: Items) -> torch.Tensor:
        w = weights.float().clone().requires_grad_(True)
        h, y = (part[:, : item.valid_frames[0]] for part in collect_output_targets(model, item, t, eps))
        return torch.autograd.grad((h @ w.T - y).square().mean(), w)[0]

    part = -gradient(context.items[[4]]) / (2 * penalty * total.count)
    wanted = float((part * -gradient(context.select_clip("shown", 0))).sum())
    assert found[0, 4, 0, 1, 0] == pytest.approx(wanted, rel=1e-3)
