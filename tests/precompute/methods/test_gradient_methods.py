"""Gradient methods of one step against a naive twin from full gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from precompute.gradients import finite_difference
from precompute.gradients.context import Context
from precompute.gradients.flat_vectors import differentiate
from precompute.gradients.item_gradients import GradientKind, compute_cell_gradient, compute_track_gradients
from precompute.gradients.sketches import Sketch
from precompute.gradients.steps import UnlearningStep, make_ascent_bank, make_one_step
from precompute.methods.trak import compute_residuals
from precompute.model.diffusion import Items, NoiseBank
from support import tiny
from support.twins import LAYERS, WIDE, agrees, linear, make, scores

# -- gradients -----------------------------------------------------------------------------------------------------


def test_one_pass_gives_every_kind_of_gradient(context: Context, naive) -> None:
    kinds = [GradientKind(o, LAYERS, n) for o in ("loss", "square", "mean") for n in (False, True)]
    seen = compute_track_gradients(context.model, context.items[[3]], kinds, context.bank)
    alone = tiny.differentiate_track(context.model, context.items[[3]], context.config.unlearning, context.bank)
    assert torch.equal(seen.rows[kinds[0]], alone)
    for kind in kinds:
        wanted = naive(kind.objective, kind.normalised)[0][3]
        found = seen.rows[kind].double().reshape(2, 2, -1).mean(1).numpy()
        assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
        if kind.normalised:
            assert torch.allclose(seen.rows[kind].norm(dim=1), torch.ones(4), atol=1e-5)
    assert set(seen.seconds) == set(kinds) and min(seen.seconds.values()) > 0


def test_every_draw_of_a_cell_is_scaled_by_itself(context: Context) -> None:
    """With several draws in a cell: the mean of gradients of length 1, not the mean gradient scaled."""
    model, item, bank = context.model, context.items[[3]], NoiseBank(2, 2, 3, seed=7)
    plain, scaled = GradientKind("loss", LAYERS), GradientKind("loss", LAYERS, normalised=True)
    seen = compute_track_gradients(model, item, [scaled, plain], bank)
    for place, cell in enumerate(bank.cells()):
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        rows = []
        for draw in range(3):
            loss = model.loss(item.latents[0], model.condition(item), t[[draw]], eps[[draw]])
            rows.append(differentiate(loss, model.parameters(LAYERS)).double())
        wanted = torch.stack([row / row.norm() for row in rows]).mean(0)
        assert torch.allclose(seen.rows[scaled][place].double(), wanted, rtol=1e-4, atol=1e-7)
        assert torch.allclose(seen.rows[plain][place].double(), torch.stack(rows).mean(0), rtol=1e-4, atol=1e-7)
        alone = compute_cell_gradient(model, item, model.condition(item), scaled, bank, cell)
        assert torch.allclose(alone.double(), wanted, rtol=1e-4, atol=1e-7)


def test_draws_without_caption_are_those_that_guidance_uses(context: Context) -> None:
    """Track and clip, product and forward mode, against draws under a condition of zeros, one at a time."""
    section = replace(context.config.unlearning, uncaptioned=0.4, ascent_draws=8)
    model, item, bank = context.model, context.items[[3]], NoiseBank(2, 4, 1, seed=7, uncaptioned=0.4)
    left_out = [cell for cell in bank.cells() if not bank.has_caption(*cell)]
    assert len(left_out) == 4 and {r for r, _ in left_out} == {0, 1}

    def differentiate_alone(item: Items, own: NoiseBank, cell: tuple[int, int], frames: int | None) -> torch.Tensor:
        t, eps = own.cell(*cell, (model.latent_channels, model.frames))
        condition = model.condition(item)
        if not own.has_caption(*cell):
            condition["cross_attn_cond"] = torch.zeros_like(condition["cross_attn_cond"])
        return differentiate(model.loss(item.latents[0], condition, t, eps, frames), model.parameters(LAYERS)).double()

    seen = compute_track_gradients(model, item, [GradientKind(layers=LAYERS)], bank).rows[GradientKind(layers=LAYERS)]
    wanted = torch.stack([differentiate_alone(item, bank, cell, None) for cell in bank.cells()])
    assert torch.allclose(seen.double(), wanted, rtol=1e-4, atol=1e-6)
    step = UnlearningStep(section, 16)
    clip, ascent = context.select_clip("shown", 0), make_ascent_bank(section)
    found = step.compute_clip_gradients(model, clip, with_windows=False)[:, 0].double()
    frames = int(clip.valid_frames[0])
    for half in range(2):
        cells = [(half, stratum) for stratum in range(4)]
        own = torch.stack([differentiate_alone(clip, ascent, cell, frames) for cell in cells]).mean(0)
        assert torch.allclose(found[half], own, rtol=1e-4, atol=1e-6)
    direction = found.mean(0).float()
    rise = step.compute_moments(model, item, direction, bank).mean()
    assert float(rise) == pytest.approx(float(wanted.mean(0) @ direction.double()), rel=1e-4)


def test_the_pass_knows_the_losses(context: Context) -> None:
    item, model = context.items[[4]], context.model
    found = compute_track_gradients(model, item, [GradientKind(layers=LAYERS)], context.bank).losses
    wanted = finite_difference.compute_bank_loss(model, item, context.config.unlearning, context.bank)
    assert float(found.mean()) == pytest.approx(wanted, rel=1e-6) and found.shape == (4,)


@pytest.mark.parametrize("objective", ["loss", "square", "mean"])
def test_a_clips_gradient_is_the_mean_over_its_draws(context: Context, naive, objective: str) -> None:
    for normalised in (False, True):
        wanted = naive(objective, normalised)[1][2]
        step = make_one_step(context, normalised, objective)
        found = step.compute_clip_gradients(context.model, context.select_clip("targets", 0), True).sum(1).numpy()
        assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


# -- methods against twins -----------------------------------------------------------------------------------------


def test_influence_is_the_product_of_gradients(context: Context, of_loss) -> None:
    agrees(scores(context, "influence"), *linear(*of_loss))


def test_damped_influence_has_the_curvature_between(context: Context, of_loss, fisher: np.ndarray) -> None:
    tracks, clips = of_loss
    agrees(scores(context, "influence-damped", damping=0.5), *linear(tracks / (fisher + 0.5 * fisher.mean()), clips))


def test_normalised_influence(context: Context, naive) -> None:
    agrees(scores(context, "influence", normalise_timesteps=True), *linear(*naive("loss", True)))


@pytest.mark.parametrize("leverage", [False, True])
def test_gram_correction_against_the_dense_formula(
    context: Context, of_loss, fisher: np.ndarray, leverage: bool
) -> None:
    tracks, clips = (x / np.sqrt(fisher + 0.1 * fisher.mean()) for x in of_loss)
    wanted = gram_twin(tracks, clips, leverage)
    agrees(scores(context, "unlearning-gram", damping=0.05, width=WIDE, leverage=leverage), *wanted, rel=1e-3)


@pytest.mark.parametrize("leverage", [False, True])
def test_gram_correction_in_a_narrow_space(context: Context, of_loss, fisher: np.ndarray, leverage: bool) -> None:
    """The k x k form is the same formula on sketches."""
    sketch = Sketch(of_loss[0].shape[-1], 128, seed=505)
    white = [torch.from_numpy(x / np.sqrt(fisher + 0.1 * fisher.mean())).float() for x in of_loss]
    tracks, clips = (sketch(x.flatten(0, 1)).double().numpy().reshape(*x.shape[:2], 128) for x in white)
    wanted = gram_twin(tracks, clips, leverage)
    found = scores(context, "unlearning-gram", damping=0.05, width=128, form="sketch", leverage=leverage)
    agrees(found, *wanted, rel=1e-3)


def gram_twin(tracks: np.ndarray, clips: np.ndarray, leverage: bool) -> tuple[np.ndarray, np.ndarray]:
    """From whitened [N, R, P] and [Q + K, H, P]."""
    a = tracks[:16].mean(1)
    damping = 0.05 * np.square(a).sum(1).mean()
    if leverage:
        tracks = tracks.mean(1, keepdims=True)  # what A holds of a track
    cells, cohort = linear(tracks, dense(a, damping, clips))
    for i in range(16) if leverage else []:  # leaving the track itself out of A is the same as dividing by 1 - h
        own, usual = linear(tracks[[i]], dense(np.delete(a, i, 0), damping, clips))
        cells[:, i], cohort[:, i] = own[:, 0], usual[:, 0]
    return cells, cohort


def dense(a: np.ndarray, damping: float, vectors: np.ndarray) -> np.ndarray:
    """vectors (A'A + damping I)^-1 by the eigenvectors of A'A that A spans."""
    _, values, right = np.linalg.svd(a, full_matrices=False)
    inside = vectors @ right.T
    return (vectors - inside @ right) / damping + (inside / (values**2 + damping)) @ right


def test_a_narrow_sketch_of_the_gram_matrix_keeps_the_ranking(context: Context) -> None:
    exact = scores(context, "unlearning-gram", width=WIDE).score
    found = scores(context, "unlearning-gram", width=2048).score
    assert np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(exact, found, strict=True)]) > 0.9


@pytest.mark.parametrize(("name", "objective"), [("trak", "loss"), ("dtrak", "square")])
@pytest.mark.parametrize("normalised", [False, True])
def test_projected_methods_against_the_dense_formula(
    context: Context, naive, name: str, objective: str, normalised: bool
) -> None:
    """A training track is scored by a ridge regression that it is not part of."""
    tracks, clips = naive(objective, normalised)
    a = tracks[:16].mean(1)
    damping = 0.2 * np.square(a).sum(1).mean()
    cells, cohort = linear(tracks, dense(a, damping, clips))
    for i in range(16):
        own, usual = linear(tracks[[i]], dense(np.delete(a, i, 0), damping, clips))
        cells[:, i], cohort[:, i] = own[:, 0], usual[:, 0]
    found = scores(context, name, damping=0.2, width=WIDE, normalise_timesteps=normalised)
    agrees(found, cells, cohort, rel=1e-3)


def test_trackstar_against_the_dense_formula(context: Context, of_loss, fisher: np.ndarray) -> None:
    """Cosines in the metric of a ridge regression, of which a training track is no part."""
    tracks, clips = (x / np.sqrt(fisher + 0.1 * fisher.mean()) for x in of_loss)
    a = tracks[:16].mean(1)
    damping = 0.2 * np.square(a).sum(1).mean()
    cells, cohort = linear(tracks, dense(a, damping, clips))
    lengths = np.zeros(len(tracks))
    for i in range(len(tracks)):
        others = np.delete(a, i, 0) if i < 16 else a
        own, usual = linear(tracks[[i]], dense(others, damping, clips))
        cells[:, i], cohort[:, i] = own[:, 0], usual[:, 0]
        mean = tracks[i].mean(0)
        lengths[i] = np.sqrt((dense(others, damping, mean[None]) * mean).sum())
    of_clips = np.sqrt((dense(a, damping, clips.mean(1)) * clips.mean(1)).sum(1))
    stored = len(cells)
    cells /= lengths[None, :, None, None] * of_clips[:stored, None, None, None]
    cohort /= lengths * of_clips[stored:, None]
    agrees(scores(context, "trackstar", damping=0.2, width=WIDE), cells, cohort, rel=1e-3)


@pytest.mark.parametrize("name", ["trak", "dtrak"])
def test_the_windows_of_a_clip_add_up_to_its_score(context: Context, name: str) -> None:
    found = scores(context, name, width=2048)
    assert found.windows is not None and found.windows.shape[2] > 1
    shown = len(context.queries.shown)
    np.testing.assert_allclose(np.nansum(found.windows, 2), found.score[:shown], rtol=1e-3, atol=1e-12)


def test_an_expanded_vector_has_the_products_of_the_sketches() -> None:
    generator = torch.Generator().manual_seed(1)
    sketch, row = Sketch(1000, 96, seed=3), torch.randn(2, 1000, generator=generator)
    short = torch.randn(3, 96, generator=generator)
    assert torch.allclose(sketch.expand(short) @ row.T, short @ sketch(row).T, rtol=1e-4, atol=1e-4)


def test_unlearning_by_output_is_unlearning_of_the_squared_output(context: Context, naive, fisher: np.ndarray) -> None:
    tracks, clips = naive("square", False)
    damped = fisher + 0.1 * fisher.mean()
    scale = context.config.unlearning.learning_rate / 16
    wanted = linear(tracks * scale / damped, clips)
    found = scores(context, "unlearning-output")
    assert np.allclose(found.cells.mean(3), wanted[0], rtol=1e-3, atol=1e-4 * np.abs(wanted[0]).max())
    assert np.allclose(found.cohort, wanted[1], rtol=1e-3, atol=1e-4 * np.abs(wanted[1]).max())


def test_das_is_that_times_residual_and_leverage(context: Context, naive) -> None:
    tracks, clips = naive("mean", True)
    a = tracks[:16].mean(1)
    damping = 0.2 * np.square(a).sum(1).mean()
    cells, cohort = linear(tracks, dense(a, damping, clips))
    bank = context.bank
    losses = [
        finite_difference.compute_bank_loss(context.model, context.items[[i]], context.config.unlearning, bank)
        for i in range(20)
    ]
    factor = np.sqrt(losses)
    factor[:16] /= 1 - (dense(a, damping, a) * a).sum(1)
    found = scores(context, "das", damping=0.2, width=WIDE)
    agrees(found, cells * factor[:, None, None], cohort * factor, rel=1e-3)
    squared = scores(context, "das", damping=0.2, width=WIDE, squared=True)
    assert np.allclose(squared.cells, found.cells**2)
    bare = scores(context, "das", damping=0.2, width=WIDE, residual="none", leverage=0)
    agrees(bare, cells, cohort, rel=1e-3)


def test_flat_residuals_have_unit_length_over_the_draws() -> None:
    losses = np.array([[4.0, 9.0], [1.0, 1.0]])
    assert np.allclose(compute_residuals(losses, "flat"), [np.mean([2, 3]) / np.sqrt(13), 1 / np.sqrt(2)])
    assert np.allclose(compute_residuals(losses, "error"), np.sqrt([6.5, 1.0]))
    assert compute_residuals(losses, "none").tolist() == [1, 1]


def test_ekfac_unlearning_is_the_preconditioned_product(context: Context, of_loss) -> None:
    method = make("unlearning-ekfac", context, damping=0.2)
    ekfac, (tracks, clips) = method.load_curvature(context), of_loss
    solved = np.stack([ekfac.solve(torch.from_numpy(clip).float()).double().numpy() for clip in clips])
    scale = context.config.unlearning.learning_rate / 16
    agrees(method.compute_scores(method.focus(context), {}), *linear(tracks, scale * solved), rel=1e-3)
