"""Attribution by unlearning (arXiv 2506.18312, after arXiv 2406.09408), exact to first order.

Unlearning a clip by one preconditioned ascent step gives theta = theta_0 + (alpha/N) F^-1 grad L(clip); a track's score
is the rise of its loss, tau_i = L(z_i, theta) - L(z_i, theta_0). Three ways to the same number:

(a) `finite_difference`: the two losses, subtracted; the naive twin, used by `--audit` and `verify`.
(b) `track_moments`: forward-mode derivative along the step; also gives the loss frame by frame.
(c) `dot` of `track_gradients`: a track's gradient once, a product with every clip's direction; the fast way.

Masks follow the paper's "mixed" setting by default: the unlearned clip counts its valid frames only (M_U), tracks are
scored over all padded frames, as trained.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from precompute.config import UnlearningSection
from precompute.fisher import count, flat_gradient, unflatten
from precompute.model import Items, Model, NoiseBank

MASKED = {"none": (False, False), "mixed": (True, False), "dual": (True, True)}  # (M_U, M_L)
HALVES = 2  # independent halves of the ascent draws
ASCENT_BATCH = 16  # draws a forward pass
CHUNK = 1 << 18  # parameters a partial sum: fp32 products, fp64 totals


def ascent_bank(settings: UnlearningSection) -> NoiseBank:
    """The draws of the clip's gradient: one replicate a half."""
    return NoiseBank(HALVES, settings.ascent_draws // HALVES, draws_per_cell=1, seed=settings.seed)


def scored_frames(settings: UnlearningSection, valid_frames: int) -> int | None:
    """Frames of a track that count in its score; None = all padded frames."""
    return valid_frames if MASKED[settings.mask][1] else None


def windows_of(model: Model, settings: UnlearningSection, valid_frames: int) -> list[tuple[int, int]]:
    """Frame ranges of about `window_s` that tile a clip's valid frames."""
    step = max(1, round(settings.window_s * model.frame_rate))
    return [(start, min(start + step, valid_frames)) for start in range(0, valid_frames, step)]


def clip_gradients(model: Model, clip: Items, settings: UnlearningSection, with_windows: bool) -> torch.Tensor:
    """Gradient of the unlearned clip's loss: [HALVES, W, P] float32, W windows that sum to the whole (W = 1 without).

    A window's loss is the sum over its frames / the number of valid frames, so windows add up exactly.
    """
    parameters = model.parameters(settings.layers)
    with torch.no_grad():
        condition = model.condition(clip)
    valid = int(clip.valid_frames[0]) if MASKED[settings.mask][0] else model.frames
    windows = windows_of(model, settings, valid) if with_windows else [(0, valid)]
    bank = ascent_bank(settings)
    total = torch.zeros(HALVES, len(windows), count(parameters))
    for half in range(HALVES):
        draws = [bank.cell(half, stratum, (model.latent_channels, model.frames)) for stratum in range(bank.strata)]
        for start in range(0, len(draws), ASCENT_BATCH):
            t, eps = (torch.cat(part) for part in zip(*draws[start : start + ASCENT_BATCH], strict=True))
            frames = model.frame_loss(clip.latents[0], condition, t, eps).sum(0) / bank.strata
            for w, (first, end) in enumerate(windows):
                loss = frames[first:end].sum() / valid
                total[half, w] += flat_gradient(loss, parameters, keep_graph=w + 1 < len(windows)).cpu()
    return total


def track_gradients(model: Model, track: Items, settings: UnlearningSection, bank: NoiseBank) -> torch.Tensor:
    """Gradients of one track's loss, one row a cell of the bank: [R x S, P] float32."""
    parameters = model.parameters(settings.layers)
    with torch.no_grad():
        condition = model.condition(track)
    frames = scored_frames(settings, int(track.valid_frames[0]))
    rows = torch.empty(len(bank.cells()), count(parameters))
    for row, cell in enumerate(bank.cells()):
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        rows[row] = flat_gradient(model.loss(track.latents[0], condition, t, eps, frames), parameters).cpu()
    return rows


def dot(rows: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """[R, P] x [Q, P] -> [R, Q] float64: fp32 products of short runs, fp64 totals."""
    total = torch.zeros(len(rows), len(directions), dtype=torch.float64)
    for start in range(0, rows.shape[1], CHUNK):
        total += (rows[:, start : start + CHUNK] @ directions[:, start : start + CHUNK].T).double()
    return total


@torch.no_grad()
def bank_loss(model: Model, track: Items, settings: UnlearningSection, bank: NoiseBank) -> float:
    """Loss of one track over the whole bank; fp32 network, fp64 mean."""
    condition = model.condition(track)
    frames = scored_frames(settings, int(track.valid_frames[0]))
    total = 0.0
    for cell in bank.cells():
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        total += float(model.frame_loss(track.latents[0], condition, t, eps)[:, :frames].double().mean())
    return total / len(bank.cells())


def finite_difference(
    model: Model,
    tracks: Items,
    direction: torch.Tensor,
    settings: UnlearningSection,
    bank: NoiseBank,
    relative_step: float = 1e-5,
) -> torch.Tensor:
    """Way (a), the paper's own: step the weights, subtract the losses -> [N] float64, per unit of `direction` [P].

    The step is rescaled to ||change|| / ||weights|| = `relative_step` and the difference divided by the same factor:
    below 1e-6 rounding drowns it, above 1e-3 curvature bends it. The weights are put back exactly.
    """
    parameters = model.parameters(settings.layers)
    norm = torch.sqrt(sum(p.detach().double().square().sum() for p in parameters.values()))
    factor = float(relative_step * norm / direction.double().norm())
    before = [bank_loss(model, tracks[[i]], settings, bank) for i in range(len(tracks))]
    kept = {name: p.detach().clone() for name, p in parameters.items()}
    try:
        with torch.no_grad():
            for name, change in unflatten(direction, parameters).items():
                parameters[name].add_(change.to(model.device), alpha=factor)
        after = [bank_loss(model, tracks[[i]], settings, bank) for i in range(len(tracks))]
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                parameters[name].copy_(value)
    return (torch.tensor(after, dtype=torch.float64) - torch.tensor(before, dtype=torch.float64)) / factor


def track_moments(
    model: Model, track: Items, direction: torch.Tensor, settings: UnlearningSection, bank: NoiseBank
) -> torch.Tensor:
    """Way (b). Rise of the track's loss frame by frame along `direction` [P] -> [F] float64; its mean is the score.

    Forward-mode derivative, so no difference of near-equal numbers; fused attention has none, the plain one is used.
    """
    parameters = model.parameters(settings.layers)
    with torch.no_grad():
        condition = model.condition(track)
    draws = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in bank.cells()]
    t, eps = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
    rest = {n: p for n, p in model.network.model.named_parameters() if n not in parameters}
    plain = torch.nn.attention.SDPBackend.MATH

    def frames_of(changed: dict[str, torch.Tensor]) -> torch.Tensor:
        return model.frame_loss(track.latents[0], condition, t, eps, weights={**rest, **changed})

    primal = {name: p.detach() for name, p in parameters.items()}
    tangent = {name: part.to(model.device) for name, part in unflatten(direction, parameters).items()}
    with torch.nn.attention.sdpa_kernel(plain), torch.no_grad():
        _, rise = torch.func.jvp(frames_of, (primal,), (tangent,))
    rise = rise.double().mean(0).cpu()
    frames = scored_frames(settings, int(track.valid_frames[0]))
    if frames is not None:  # dual: only valid frames count, and they carry the whole score
        rise[frames:] = 0.0
        rise *= model.frames / frames
    return rise


class Unlearning:
    """One Fisher-preconditioned step that unlearns the clip; whose loss rises?"""

    name = "unlearning"
    label = "Unlearning"
    description = (
        "Unlearn the clip by one small step of the model's weights; a track scores by how much its loss rises."
    )
    has_moments = True

    def __init__(self, section: UnlearningSection, tracks: int) -> None:
        """`tracks`: N of the 1/N in the step."""
        self.section = section
        self.scale = section.learning_rate / tracks

    def directions(self, model: Model, clip: Items, inverse_fisher: torch.Tensor, windows: bool) -> torch.Tensor:
        gradients = clip_gradients(model, clip, self.section, windows)
        return gradients * (self.scale * inverse_fisher)

    def gradients(self, model: Model, track: Items, bank: NoiseBank) -> torch.Tensor:
        return track_gradients(model, track, self.section, bank)

    def moments(self, model: Model, track: Items, direction: torch.Tensor, bank: NoiseBank) -> torch.Tensor:
        return track_moments(model, track, direction, self.section, bank)

    def settings(self) -> dict[str, Any]:
        return {**asdict(self.section), "scale": self.scale}
