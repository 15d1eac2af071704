"""Attribution by unlearning (arXiv 2506.18312, after arXiv 2406.09408), exact to first order.

Unlearning a clip by one preconditioned ascent step gives theta = theta_0 + (alpha/N) F^-1 grad L(clip); a track's score
is the rise of its loss, tau_i = L(z_i, theta) - L(z_i, theta_0). Three ways to the same number:

(a) `finite_difference` of `evaluate.audit`: the two losses, subtracted; the naive twin, used by `--audit` and `verify`.
(b) `track_moments`: forward-mode derivative along the step; also gives the loss frame by frame.
(c) `dot` of `track_gradients`: a track's gradient once, a product with every clip's direction; the fast way.

More steps: theta <- theta + alpha ((1/N) F^-1 grad L(clip, theta) - (theta - theta_0)), the second part (the pull-back)
being a setting; then the direction is theta - theta_0, and all the rest is as with one.

Masks follow the paper's "mixed" setting by default: the unlearned clip counts its valid frames only (M_U), tracks are
scored over all padded frames, as trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache
from precompute.config.run import RunConfig, UnlearningSection, fingerprint
from precompute.gradients.directions import HALVES, Directions, StepTap, Tap
from precompute.gradients.fisher import count, flat_gradient, unflatten
from precompute.gradients.per_item import Kind, unit_rows
from precompute.methods.base import Context, GradientMethod, MethodResult, Queries
from precompute.model.diffusion import Items, Model, NoiseBank

MASKED = {"none": (False, False), "mixed": (True, False), "dual": (True, True)}  # (M_U, M_L)
ASCENT_BATCH = 16  # draws a forward pass


def ascent_bank(settings: UnlearningSection) -> NoiseBank:
    """The draws of the clip's gradient: one replicate a half."""
    return NoiseBank(HALVES, settings.ascent_draws // HALVES, 1, settings.seed, settings.t_low)


def scored_frames(settings: UnlearningSection, valid_frames: int) -> int | None:
    """Frames of a track that count in its score; None = all padded frames."""
    return valid_frames if MASKED[settings.mask][1] else None


def windows_of(model: Model, settings: UnlearningSection, valid_frames: int) -> list[tuple[int, int]]:
    """Frame ranges of about `window_s` that tile a clip's valid frames."""
    step = max(1, round(settings.window_s * model.frame_rate))
    return [(start, min(start + step, valid_frames)) for start in range(0, valid_frames, step)]


def clip_gradients(
    model: Model,
    clip: Items,
    settings: UnlearningSection,
    with_windows: bool,
    halves: tuple[int, ...] = tuple(range(HALVES)),
) -> torch.Tensor:
    """Gradient of the unlearned clip's loss: [HALVES, W, P] float32, W windows that sum to the whole (W = 1 without).

    `halves`: which are computed; the others stay zero. A window's loss is the sum over its frames / the number of
    valid frames, so windows add up exactly.
    """
    parameters = model.parameters(settings.layers)
    with torch.no_grad():
        condition = model.condition(clip)
    valid = int(clip.valid_frames[0]) if MASKED[settings.mask][0] else model.frames
    windows = windows_of(model, settings, valid) if with_windows else [(0, valid)]
    bank = ascent_bank(settings)
    total = torch.zeros(HALVES, len(windows), count(parameters))
    batch = 1 if settings.normalise_timesteps else ASCENT_BATCH
    for half in halves:
        draws = [bank.cell(half, stratum, (model.latent_channels, model.frames)) for stratum in range(bank.strata)]
        for start in range(0, len(draws), batch):
            t, eps = (torch.cat(part) for part in zip(*draws[start : start + batch], strict=True))
            frames = model.frame_loss(clip.latents[0], condition, t, eps).sum(0) / bank.strata
            if settings.normalise_timesteps:
                total[half] += _normalised(frames, windows, parameters) / bank.strata
                continue
            for w, (first, end) in enumerate(windows):
                loss = frames[first:end].sum() / valid
                total[half, w] += flat_gradient(loss, parameters, keep_graph=w + 1 < len(windows)).cpu()
    return total


def _normalised(frames: torch.Tensor, windows: list[tuple[int, int]], parameters: dict[str, Any]) -> torch.Tensor:
    """[W, P]: gradients of one draw by window, their sum scaled to length 1."""
    last = len(windows) - 1
    rows = [flat_gradient(frames[a:b].sum(), parameters, keep_graph=w < last).cpu() for w, (a, b) in enumerate(windows)]
    stacked = torch.stack(rows)
    return stacked / stacked.sum(0).norm().clamp(min=1e-20)


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
    return unit_rows(rows) if settings.normalise_timesteps else rows


def many_steps(
    model: Model,
    clip: Items,
    settings: UnlearningSection,
    inverse_fisher: torch.Tensor,
    scale: float,
    with_windows: bool,
) -> torch.Tensor:
    """theta_k - theta_0 after `settings.steps` steps, [HALVES, W, P]."""
    return walk(model, clip, settings, inverse_fisher, scale, with_windows, (settings.steps,))[settings.steps]


def walk(
    model: Model,
    clip: Items,
    settings: UnlearningSection,
    inverse_fisher: torch.Tensor,
    scale: float,
    with_windows: bool,
    at: Sequence[int],
) -> dict[int, torch.Tensor]:
    """theta_k - theta_0 for every number k of steps in `at`, [HALVES, W, P]: each half of the draws walks for itself.

    A window's part is what its own gradients added, so parts sum to the whole. With `relative_step` the learning rate
    is chosen so that the first step has that length relative to the weights, and the result is scaled back to
    `learning_rate`: with one step it changes nothing, with more it says how far the walk goes. The pull-back's factor
    is the learning rate, at most 1. The weights are put back exactly.
    """
    parameters = model.parameters(settings.layers)
    kept = {name: p.detach().clone() for name, p in parameters.items()}
    length = torch.sqrt(sum(p.double().square().sum() for p in kept.values()))
    halves: dict[int, list[torch.Tensor]] = {steps: [] for steps in at}
    try:
        for half in range(HALVES):
            walked, rate = None, 1.0
            for number in range(1, max(at) + 1):
                gradients = clip_gradients(model, clip, settings, with_windows, (half,))[half]
                step = gradients * (scale * inverse_fisher)  # [W, P], at `learning_rate`
                if walked is None:
                    walked = torch.zeros_like(step)
                    if settings.relative_step:
                        rate = float(settings.relative_step * length / step.sum(0).double().norm().clamp(min=1e-300))
                pull = min(1.0, settings.learning_rate * rate) if settings.pull_back else 0.0
                walked = walked * (1.0 - pull) + step * rate
                if number in halves:
                    halves[number].append(walked / rate)
                with torch.no_grad():
                    for name, change in unflatten(walked.sum(0), parameters).items():
                        parameters[name].copy_(kept[name] + change.to(model.device))
            with torch.no_grad():
                for name, value in kept.items():
                    parameters[name].copy_(value)
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                parameters[name].copy_(value)
    return {steps: torch.stack(parts) for steps, parts in halves.items()}


def track_moments(
    model: Model, track: Items, direction: torch.Tensor, settings: UnlearningSection, bank: NoiseBank
) -> torch.Tensor:
    """Way (b). Rise of the track's loss frame by frame along `direction` [P] -> [F] float64; its mean is the score."""
    return track_rises(model, track, direction, settings, bank).mean(0)


def track_rises(
    model: Model, track: Items, direction: torch.Tensor, settings: UnlearningSection, bank: NoiseBank
) -> torch.Tensor:
    """The same for every draw of the bank, cell by cell -> [D, F] float64.

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
    with torch.nn.attention.sdpa_kernel(plain), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, of the first derivative of this kind in a process
        _, rise = torch.func.jvp(frames_of, (primal,), (tangent,))
    rise = rise.double().cpu()
    frames = scored_frames(settings, int(track.valid_frames[0]))
    if frames is not None:  # dual: only valid frames count, and they carry the whole score
        rise[:, frames:] = 0.0
        rise *= model.frames / frames
    return rise


class Unlearning(GradientMethod):
    """Fisher-preconditioned steps that unlearn the clip; whose loss rises?"""

    name = "unlearning"
    label = "Unlearning"
    description = (
        "Unlearn the clip by one small step of the model's weights; a track scores by how much its loss rises."
    )
    cost = "draws of the clips, and one gradient a track and draw, shared by all gradient methods"
    has_moments = True

    def __init__(self, section: UnlearningSection, tracks: int) -> None:
        """`tracks`: N of the 1/N in the step."""
        super().__init__(section)
        self.section = section
        self.scale = section.learning_rate / tracks
        self.has_moments = not section.normalise_timesteps  # a sum over frames cannot be scaled draw by draw

    @classmethod
    def create(cls, settings: None, config: RunConfig, tracks: int) -> Unlearning:
        return cls(config.unlearning, tracks)

    def record(self) -> dict[str, Any]:
        return {**asdict(self.section), "scale": self.scale}

    def directions(self, model: Model, clip: Items, inverse_fisher: torch.Tensor, windows: bool) -> torch.Tensor:
        """[HALVES, W, P]: preconditioned steps of one clip, whose dot products with a track's gradient are scores."""
        if self.section.steps > 1:
            return many_steps(model, clip, self.section, inverse_fisher, self.scale, windows)
        return self.of_halves(model, clip, inverse_fisher, windows, tuple(range(HALVES)))

    def of_halves(
        self, model: Model, clip: Items, inverse_fisher: torch.Tensor, windows: bool, halves: tuple[int, ...]
    ) -> torch.Tensor:
        """The same by one step, of some halves of the draws; the others are zero."""
        gradients = clip_gradients(model, clip, self.section, windows, halves)
        return gradients * (self.scale * inverse_fisher)

    def gradients(self, model: Model, track: Items, bank: NoiseBank) -> torch.Tensor:
        """[R x S, P]: one row a cell of the bank."""
        return track_gradients(model, track, self.section, bank)

    def rise(self, model: Model, track: Items, direction: torch.Tensor, bank: NoiseBank) -> torch.Tensor:
        """[F]: the score along one direction [P], frame by frame; its mean is the score."""
        return track_moments(model, track, direction, self.section, bank)

    @property
    def kind(self) -> Kind:
        """Which gradient of a track it looks at."""
        section = self.section
        return Kind("loss", section.layers, section.normalise_timesteps, MASKED[section.mask][1])

    def clip_directions(
        self,
        model: Model,
        queries: Queries,
        inverse_fisher: Callable[[], torch.Tensor],
        config: RunConfig,
        cache: Cache,
        key: str,
    ) -> Directions:
        """Of all clips; `key` names model, tracks and clips by content."""

        def compute(clip: Items, windows: bool) -> torch.Tensor:
            return self.directions(model, clip, inverse_fisher(), windows)

        def by_half(clip: Items, windows: bool, half: int) -> torch.Tensor:
            return self.of_halves(model, clip, inverse_fisher(), windows, (half,))

        key = fingerprint(key, self.section, config.fisher)
        parameters = count(model.parameters(self.section.layers))
        directions = Directions(
            queries,
            compute,
            model.device,
            parameters,
            cache,
            key,
            prepare=inverse_fisher,
            by_half=by_half if self.section.steps == 1 else None,
        )
        directions.memory_gb = config.pass_.memory_gb
        return directions

    def step_tap(
        self,
        model: Model,
        queries: Queries,
        inverse_fisher: Callable[[], torch.Tensor],
        config: RunConfig,
        cache: Cache,
        key: str,
    ) -> StepTap:
        """What it keeps of every track."""
        directions = self.clip_directions(model, queries, inverse_fisher, config, cache, key)
        return StepTap(directions, self.kind, fingerprint(directions.key, config.bank))

    def assembled(self, kept: Arrays, model: Model, queries: Queries, bank: NoiseBank) -> MethodResult:
        """From what the tap took, stacked over tracks."""
        clips = len(queries.shown) + len(queries.targets)
        cells = kept["cells"].reshape(len(kept["cells"]), bank.replicates, bank.strata, clips, -1)
        counts = [len(self._windows(model, queries.shown[[row]])) for row in range(len(queries.shown))]
        sums, start = kept["sums"], 0  # [N, all windows + K]
        by_window = np.full((len(counts), len(sums), max(counts, default=0)), np.nan)
        for q, number in enumerate(counts):
            by_window[q, :, :number] = sums[:, start : start + number]
            start += number
        return MethodResult(
            cells=np.ascontiguousarray(cells.transpose(3, 0, 1, 2, 4)),
            cohort=sums[:, start:].T.copy(),
            windows=by_window,
        )

    def _windows(self, model: Model, clip: Items) -> list[tuple[int, int]]:
        valid = int(clip.valid_frames[0]) if MASKED[self.section.mask][0] else model.frames
        return windows_of(model, self.section, valid)

    def tap(self, context: Context) -> StepTap:
        arguments = (context.model, context.queries, context.inverse_fisher, context.config, context.cache, context.key)
        name = f"step-{fingerprint(self.record())}"
        return context.once(name, lambda: self.step_tap(*arguments))

    def taps(self, context: Context) -> dict[str, Tap]:
        return {"steps": self.tap(context)}

    def combine(self, context: Context, kept: dict[str, Arrays]) -> MethodResult:
        return self.assembled(kept["steps"], context.model, context.queries, context.bank)

    def moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        direction = self.tap(context).directions.whole(clip)
        return self.rise(context.model, context.items[[track]], direction, context.bank).numpy()
