"""Unlearning against naive twins: three ways to one number, masks, windows, layer groups."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from precompute.config.run import BankSection, RunConfig, UnlearningSection
from precompute.errors import UserError
from precompute.gradients import finite_difference as audit
from precompute.gradients.context import make_noise_bank
from precompute.gradients.directions import CHUNK, HALVES, multiply
from precompute.gradients.finite_difference import correlate_ranks
from precompute.gradients.fisher import compute_fisher, invert_fisher
from precompute.gradients.flat_vectors import count_parameters, differentiate
from precompute.gradients.steps import UnlearningStep, cut_windows, make_ascent_bank
from precompute.methods.catalogue import find_class
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import LAYER_GROUPS, Items, Model, NoiseBank
from support import tiny

BANK = NoiseBank(replicates=2, strata=2, draws_per_cell=1, seed=7)
SECTION = UnlearningSection(ascent_draws=4, window_s=0.5)
STEP = UnlearningStep(SECTION, tracks=16)


@pytest.fixture(scope="module")
def inverse_fisher(model: Model, items: Items, config: RunConfig) -> torch.Tensor:
    return invert_fisher(compute_fisher(model, items[:16], "all", config.fisher), config.fisher.damping)


@pytest.fixture(scope="module")
def direction(model: Model, items: Items, inverse_fisher: torch.Tensor) -> torch.Tensor:
    """Direction of the first track, [P]."""
    return STEP.compute_directions(model, items[[0]], inverse_fisher, False).sum(1).mean(0)


@pytest.fixture(scope="module")
def fast(model: Model, items: Items, direction: torch.Tensor) -> torch.Tensor:
    """Gradient products for every track, [N] float64."""
    rows = [tiny.scores_of_track(model, items[[i]], direction[None], SECTION, BANK) for i in range(len(items))]
    return torch.stack(rows).mean(1)[:, 0]


def by_hand(model: Model, item: Items, t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """Squared v-error [F] of one draw (t scalar, eps [C, F]), written out once more."""
    z = item.latents[0]
    alpha, sigma = math.cos(math.pi * float(t) / 2), math.sin(math.pi * float(t) / 2)
    condition = model.condition(item)
    predicted = model.network.model((alpha * z + sigma * eps)[None], t.reshape(1), use_checkpointing=False, **condition)
    return (predicted[0] - (alpha * eps - sigma * z)).square().mean(0)


def test_gradient_products_equal_the_forward_derivative(
    model: Model, items: Items, direction: torch.Tensor, fast: torch.Tensor
) -> None:
    for row in (0, 3, 9, 20):
        rise = STEP.compute_moments(model, items[[row]], direction, BANK)
        assert rise.shape == (model.frames,)
        assert float(rise.mean()) == pytest.approx(float(fast[row]), rel=1e-4)


@pytest.mark.parametrize("mask", ["none", "mixed", "dual"])
def test_both_ways_agree_under_every_mask(model: Model, items: Items, direction: torch.Tensor, mask: str) -> None:
    section = replace(SECTION, mask=mask)
    row = int(items.valid_frames.argmin())
    score = tiny.scores_of_track(model, items[[row]], direction[None], section, BANK).mean()
    rise = UnlearningStep(section, 16).compute_moments(model, items[[row]], direction, BANK)
    assert float(rise.mean()) == pytest.approx(float(score), rel=1e-4)
    padded = rise[int(items.valid_frames[row]) :]
    assert len(padded) and bool((padded == 0).all()) == (mask == "dual")


def test_gradient_products_rank_as_plain_loss_differences_do(
    model: Model, items: Items, direction: torch.Tensor, fast: torch.Tensor
) -> None:
    twin = audit.subtract_losses(model, items, direction, SECTION, BANK, relative_step=1e-4)
    assert correlate_ranks(fast.numpy(), twin.numpy()) >= 0.99
    assert float((twin - fast).abs().max()) <= 0.05 * float(fast.abs().max())


def test_finite_difference_puts_the_weights_back_exactly(model: Model, items: Items, direction: torch.Tensor) -> None:
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    audit.subtract_losses(model, items[[0]], direction, SECTION, BANK, relative_step=1e-2)
    assert all(torch.equal(p, before[name]) for name, p in model.network.named_parameters())


def test_finite_difference_puts_the_weights_back_after_a_failure(
    model: Model, items: Items, direction: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    losses = iter([1.0])  # the second loss, at the changed weights, fails
    monkeypatch.setattr(audit, "compute_bank_loss", lambda *_: next(losses))
    with pytest.raises(StopIteration):
        audit.subtract_losses(model, items[[0]], direction, SECTION, BANK, relative_step=1e-2)
    assert all(torch.equal(p, before[name]) for name, p in model.network.named_parameters())


def test_windows_of_a_clip_add_up_to_the_whole(model: Model, items: Items) -> None:
    whole = STEP.compute_clip_gradients(model, items[[4]], with_windows=False)
    parts = STEP.compute_clip_gradients(model, items[[4]], with_windows=True)
    assert whole.shape[1] == 1 and parts.shape[1] >= 3
    assert float((parts.sum(1) - whole[:, 0]).norm() / whole.norm()) <= 1e-5


def test_windows_tile_the_valid_frames(model: Model, items: Items) -> None:
    clip = replace(items[[0]], valid_frames=torch.tensor([31]))
    assert cut_windows(model, clip, SECTION) == [(0, 12), (12, 24), (24, 31)]  # 25 Hz: 12 frames each


@pytest.mark.parametrize(("mask", "unlearned_valid", "scored_valid"), [("none", 0, 0), ("mixed", 1, 0), ("dual", 1, 1)])
def test_masks_against_losses_written_by_hand(
    model: Model, items: Items, mask: str, unlearned_valid: int, scored_valid: int
) -> None:
    section = replace(SECTION, mask=mask, layers="to_kv")
    item = items[[int(items.valid_frames.argmin())]]
    valid = int(item.valid_frames[0])
    assert valid < model.frames
    shape = (model.latent_channels, model.frames)

    kept = valid if scored_valid else model.frames
    cells = [BANK.cell(*cell, shape) for cell in BANK.cells()]
    losses = [by_hand(model, item, t[0], eps[0])[:kept].sum() / kept for t, eps in cells]
    wanted = float(sum(losses)) / len(losses)
    assert audit.compute_bank_loss(model, item, section, BANK) == pytest.approx(wanted, rel=1e-5)

    kept = valid if unlearned_valid else model.frames
    parameters = model.parameters("to_kv")
    draws = make_ascent_bank(section)
    wanted = torch.zeros(HALVES, count_parameters(parameters))
    for half, stratum in draws.cells():
        t, eps = draws.cell(half, stratum, shape)
        loss = by_hand(model, item, t[0], eps[0])[:kept].sum() / kept
        wanted[half] += differentiate(loss, parameters) / draws.strata
    found = UnlearningStep(section, 16).compute_clip_gradients(model, item, with_windows=False)[:, 0]
    assert float((found - wanted).norm() / wanted.norm()) <= 1e-5


def test_ascent_draws_are_independent_of_the_scoring_bank(config: RunConfig) -> None:
    scoring, ascent = make_noise_bank(BankSection()), make_ascent_bank(UnlearningSection())
    shape = (8, 50)
    scored = [scoring.cell(*cell, shape) for cell in scoring.cells()]
    ascended = [ascent.cell(*cell, shape) for cell in ascent.cells()]
    times = {float(t) for t, _ in scored}
    assert len(times) == len(scored) and not times & {float(t) for t, _ in ascended}
    for _, eps in scored:
        assert all(abs(float((eps * other).mean())) < 0.25 for _, other in ascended)  # 400 values: 5 standard errors
    halves = [ascent.cell(half, 0, shape)[1] for half in range(HALVES)]
    assert abs(float((halves[0] * halves[1]).mean())) < 0.25


def test_the_cleaner_part_of_the_schedule_can_be_left_out() -> None:
    whole, noisier = make_noise_bank(BankSection(strata=4)), make_noise_bank(BankSection(strata=4, t_low=0.5))
    for cell in whole.cells():
        (t, eps), (later, same) = whole.cell(*cell, (8, 50)), noisier.cell(*cell, (8, 50))
        assert torch.allclose(later, 0.5 + t / 2) and torch.equal(eps, same)
    ascent = make_ascent_bank(UnlearningSection(t_low=0.3))
    assert min(float(ascent.cell(*cell, (8, 50))[0]) for cell in ascent.cells()) >= 0.3
    for section in (BankSection, UnlearningSection):
        with pytest.raises(UserError, match="t_low"):
            section(t_low=1.0)


def test_layer_groups_nest_and_name_what_they_say(model: Model) -> None:
    groups = {name: set(model.parameters(name)) for name in LAYER_GROUPS}
    assert groups["to_kv"] < groups["cross_attn"] < groups["all"] and groups["self_attn"] < groups["all"]
    assert not groups["cross_attn"] & groups["self_attn"]
    assert all("cross_attn.to_kv" in name for name in groups["to_kv"]) and len(groups["to_kv"]) == 2  # depth 2
    everything = {name for name, _ in model.network.model.named_parameters()}
    assert {name for name in everything if ".transformer.layers." in f".{name}"} == groups["all"] < everything
    model.parameters("to_kv")
    assert {name for name, p in model.network.model.named_parameters() if p.requires_grad} == groups["to_kv"]
    assert not any(p.requires_grad for p in model.network.pretransform.parameters())


def test_an_unknown_layer_group_is_refused(model: Model) -> None:
    with pytest.raises(UserError, match="layers = 'mlp': choose one of to_kv, cross_attn, self_attn, all"):
        model.parameters("mlp")


def test_one_backward_a_cell_equals_one_big_batch(
    model: Model, items: Items, direction: torch.Tensor, fast: torch.Tensor
) -> None:
    shape = (model.latent_channels, model.frames)
    t, eps = (torch.cat(part) for part in zip(*(BANK.cell(*cell, shape) for cell in BANK.cells()), strict=True))
    parameters = model.parameters("all")
    for row in (1, 17):
        loss = model.loss(items.latents[row], model.condition(items[[row]]), t, eps)
        big = differentiate(loss, parameters)
        mean = tiny.differentiate_track(model, items[[row]], SECTION, BANK).mean(0)
        assert float((mean - big).norm() / big.norm()) <= 1e-5
        assert float(big.double() @ direction.double()) == pytest.approx(float(fast[row]), rel=1e-4)


def test_a_step_is_the_scaled_preconditioned_gradient(model: Model, items: Items, inverse_fisher: torch.Tensor) -> None:
    gradients = STEP.compute_clip_gradients(model, items[[2]], with_windows=False)
    wanted = SECTION.learning_rate / 16 * gradients / (1 / inverse_fisher)
    found = STEP.compute_directions(model, items[[2]], inverse_fisher, False)
    assert float((found - wanted).norm() / wanted.norm()) <= 1e-6


def test_dot_against_double_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 2 * CHUNK + 17, generator=generator)
    directions = torch.randn(2, rows.shape[1], generator=generator)
    found = multiply(rows, directions)
    exact = rows.double() @ directions.double().T
    assert found.dtype == torch.float64
    scale = rows.double().norm(dim=1)[:, None] * directions.double().norm(dim=1)
    assert float(((found - exact) / scale).abs().max()) <= 1e-7


def test_the_catalogue_holds_unlearning() -> None:
    assert find_class("unlearning") is Unlearning and Unlearning(SECTION, 4).describe_settings()["scale"] == 1e-6 / 4
