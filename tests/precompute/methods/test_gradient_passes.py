"""Gradient methods along checkpoints and over more steps; duplicates found; order and shards change nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.config.run import PassSection, RunConfig, UnlearningSection
from precompute.gradients import track_pass as engine
from precompute.gradients.context import Context, make_noise_bank
from precompute.gradients.fisher import compute_fisher, invert_fisher
from precompute.gradients.item_gradients import compute_track_gradients
from precompute.gradients.steps import UnlearningStep, make_ascent_bank
from precompute.gradients.weights import add_to_weights, measure_length, restored_weights
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import Items, Model, load_model
from support.twins import GRADIENT, LAYERS, TARGETS, agrees, make, make_context, scores


def test_tracin_is_the_mean_over_checkpoints(
    context: Context, config: RunConfig, model: Model, items: Items, tracks, tiny_root: Path, tmp_path: Path
) -> None:
    folder = tiny_root / "train" / "checkpoints"
    found = scores(context, "tracin", checkpoints=str(folder))
    paths = sorted(folder.glob("step-*/model.safetensors"))
    assert len(paths) == 2
    there = [make_context(config, load_model(config, p), items, tracks, tmp_path / p.parent.name) for p in paths]
    alone = [scores(one, "influence") for one in there]
    agrees(found, np.mean([r.cells[:, :, :, 0] for r in alone], 0), np.mean([r.cohort for r in alone], 0))
    again = scores(
        context, "tracin", checkpoints=str(folder)
    )  # from what is kept: its cost is still that of the passes
    assert found.seconds is not None and found.seconds > 0 and again.seconds == found.seconds
    method = make("tracin", context, checkpoints=str(tmp_path / "none"))
    assert method.find_obstacle(context) == f"{tmp_path}/none: no checkpoints of the training here"


@pytest.mark.parametrize(
    "name", [*["unlearning", "unlearning-output", "unlearning-ekfac", "influence", "influence-damped"], "trak", "dtrak"]
)
def test_moments_have_the_score_as_their_mean(context: Context, name: str) -> None:
    method = make(name, context)
    result = method.compute_scores(method.focus(context), {})
    for clip, track in ((0, 3), (1, 17)):
        rise = method.compute_moments(method.focus(context), clip, track)
        assert rise.shape == (context.model.frames,)
        assert rise.mean() == pytest.approx(result.score[clip, track], rel=2e-3)


# -- more steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pull_back", [True, False])
def test_more_steps_against_a_plain_loop(context: Context, config: RunConfig, pull_back: bool) -> None:
    section = UnlearningSection(
        layers=LAYERS, ascent_draws=4, window_s=0.5, steps=3, pull_back=pull_back, relative_step=0.02
    )
    walker, own = load_model(config), load_model(config)
    curvature = invert_fisher(compute_fisher(own, context.items[range(16)], LAYERS, config.fisher), 0.1)
    step, clip = UnlearningStep(section, tracks=16), context.items[[2]]
    found = step.compute_directions(own, clip, curvature, True)
    assert found.shape[1] > 1
    kept = {n: p.detach().clone() for n, p in walker.parameters(LAYERS).items()}
    start = torch.cat([p.flatten() for p in kept.values()]).double()
    for half in range(2):
        theta, rate = start.clone(), None
        for _ in range(3):
            ascent = step.compute_clip_gradients(walker, clip, False)[half, 0].double() * curvature / 16
            rate = 0.02 * start.norm() / ascent.norm() if rate is None else rate
            pull = min(1.0, float(rate)) * (theta - start) if pull_back else 0.0
            theta = theta + rate * ascent - pull
            put(walker, theta)
        put(walker, start)
        wanted = (theta - start) * section.learning_rate / rate
        assert float((found[half].sum(0) - wanted).norm() / wanted.norm()) <= 1e-3
    assert all(torch.equal(p, kept[n]) for n, p in own.parameters(LAYERS).items())


def put(model: Model, theta: torch.Tensor) -> None:
    start = 0
    with torch.no_grad():
        for parameter in model.parameters(LAYERS).values():
            parameter.copy_(theta[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()


def test_one_step_of_many_is_the_one_step(context: Context, config: RunConfig) -> None:
    model, curvature = load_model(config), torch.ones(sum(p.numel() for p in context.model.parameters(LAYERS).values()))
    section = replace(context.config.unlearning, relative_step=0.01)
    step = UnlearningStep(section, 16)
    one = step.compute_directions(model, context.items[[2]], curvature, True)
    walked = step.walk(model, context.items[[2]], curvature, True, (1,))[1]
    assert float((walked - one).norm() / one.norm()) <= 1e-5


def test_normalised_unlearning_weighs_all_timesteps_alike(context: Context, naive) -> None:
    section = replace(context.config.unlearning, normalise_timesteps=True)
    step = UnlearningStep(section, 16)
    found = step.compute_clip_gradients(context.model, context.select_clip("targets", 1), True).sum(1)
    wanted = naive("loss", True)[1][3]
    assert np.allclose(found.numpy(), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    assert not Unlearning(section, 16).has_moments


def test_unlearning_a_group_of_tracks_raises_a_clips_loss_by_the_sum_of_their_scores(
    context: Context, config: RunConfig
) -> None:
    """To first order: what the page's question about a catalogue rests on. One step for all, finite differences."""
    method = make("unlearning", context)
    scores = method.compute_scores(method.focus(context), {}).score
    model, group, step = load_model(config), [1, 4, 9], method.step
    rows = [
        compute_track_gradients(model, context.items[[i]], [step.kind], context.bank).rows[step.kind] for i in group
    ]
    summed = sum(row.double().mean(0) for row in rows)
    direction = (step.scale * context.load_inverse_fisher().double() * summed).float()
    for clip in (0, 1):
        item = context.select_clip("shown", clip)
        parameters = model.parameters(LAYERS)
        size = 1e-2 * float(measure_length(parameters)) / float(direction.norm())
        losses = []
        for sign in (1, -1):
            with restored_weights(parameters):
                add_to_weights(parameters, direction, sign * size)
                losses.append(measure_clip_loss(model, item, step.section))
        rise = (losses[0] - losses[1]) / (2 * size)
        assert rise == pytest.approx(scores[clip, group].sum(), rel=0.03)


def measure_clip_loss(model: Model, item: Items, section: UnlearningSection) -> float:
    """Over the clip's own draws and the frames that count."""
    bank, losses = make_ascent_bank(section), []
    for cell in bank.cells():
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        with torch.no_grad():
            frames = model.frame_loss(item.latents[0], model.condition(item), t, eps).double()
        losses.append(float(frames[:, : int(item.valid_frames[0])].mean()))
    return float(np.mean(losses))


# -- duplicates, order, sharing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRADIENT)
def test_an_exact_duplicate_is_found(
    config: RunConfig, fitted: Model, items: Items, tracks, tmp_path_factory, name: str
) -> None:
    """A model that has learnt something; all layers; a clip that is a training track is among the first of 16."""
    folder = tmp_path_factory.getbasetemp() / "fitted-cache"
    context = make_context(config, fitted, items, tracks, folder)
    section = replace(context.config.unlearning, layers="all", ascent_draws=16)
    bank = replace(context.config.bank, strata=4)
    config = replace(context.config, unlearning=section, bank=bank)
    context = replace(context, config=config, bank=make_noise_bank(bank))
    found = scores(context, name).score[2:, :16]
    places = (found > found[range(len(TARGETS)), TARGETS][:, None]).sum(1) + 1
    assert places.max() <= 3 and places.mean() <= 2, places


@pytest.mark.parametrize("name", GRADIENT)
def test_neither_order_nor_shards_matter(
    config: RunConfig, model: Model, items: Items, tracks, tmp_path: Path, name: str
) -> None:
    order = [*range(0, 20, 2), *range(19, 0, -2)]
    plain = scores(make_context(config, model, items, tracks, tmp_path / "a"), name)
    model = model.with_arithmetic(PassSection(shard_tracks=7))
    turned = scores(make_context(config, model, items, tracks, tmp_path / "b", order), name)
    scale = np.abs(plain.cells).max()
    assert np.allclose(turned.cells, plain.cells[:, order], rtol=0, atol=1e-4 * scale)
    assert np.allclose(turned.cohort, plain.cohort[:, order], rtol=0, atol=1e-4 * scale)


def test_methods_share_the_gradients_of_a_track(
    config: RunConfig, model: Model, items: Items, tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once: one visit a track. One more later: one more visit, and nothing else is computed again."""
    context, visits = make_context(config, model, items, tracks, tmp_path), []

    def counted(model, track, kinds, bank):
        visits.append(kinds)
        return compute_track_gradients(model, track, kinds, bank)

    monkeypatch.setattr(engine, "compute_track_gradients", counted)
    methods = [make(name, context) for name in ("unlearning", "unlearning-gram", "influence", "trak")]
    taps = [tap for method in methods for tap in method.make_taps(method.focus(context)).values()]
    engine.gather(model, context.items, context.bank, taps, context.cache)
    assert len(visits) == 20 and {len(kinds) for kinds in visits} == {1}
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    scores(context, "dtrak")
    assert len(visits) == 40 and all(kinds[0].objective == "square" for kinds in visits[20:])
    for method in methods:
        method.compute_scores(method.focus(context), {})
    assert len(visits) == 40
    assert all(path.stat().st_mtime_ns == before[path.name] for path in tmp_path.glob("*.npz") if path.name in before)
