"""The step that unlearns a clip (arXiv 2506.18312, after arXiv 2406.09408), exact to first order.

Unlearning a clip by one preconditioned ascent step gives theta = theta_0 + (alpha/N) F^-1 grad L(clip); a track's score
is the rise of its loss, tau_i = L(z_i, theta) - L(z_i, theta_0). Three ways to the same number:

- finite difference (`finite_difference.py`): the two losses, subtracted; the naive twin of `--audit`, `verify`;
- forward mode (`UnlearningStep.compute_rises`): the derivative along the step, frame by frame;
- gradient product (`taps.StepTap`): a track's gradient once, multiplied with every clip's direction; what a run does.

More steps: theta <- theta + alpha ((1/N) F^-1 grad L(clip, theta) - (theta - theta_0)), the second part (the pull-back)
being a setting; then the direction is theta - theta_0, and all the rest is as with one.

Masks follow the paper's "mixed" setting by default: the unlearned clip counts its valid frames only (M_U), tracks are
scored over all padded frames, as trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache
from precompute.config.reading import list_values
from precompute.config.run import RunConfig, UnlearningSection, fingerprint
from precompute.gradients.context import Context, Queries
from precompute.gradients.directions import HALVES, DirectionRule, Directions
from precompute.gradients.flat_vectors import TINY, count_parameters, differentiate, unflatten
from precompute.gradients.item_gradients import GradientKind, compute_by_frame, is_clip_masked, is_track_masked
from precompute.gradients.weights import measure_length, restored_weights
from precompute.model.diffusion import Items, Model, NoiseBank

ASCENT_BATCH = 16  # draws of a clip per forward pass
BOTH_HALVES = tuple(range(HALVES))


def make_ascent_bank(section: UnlearningSection) -> NoiseBank:
    """The draws of a clip's gradient: one replicate a half."""
    strata = section.ascent_draws // HALVES
    return NoiseBank(HALVES, strata, 1, section.seed, section.t_low, section.uncaptioned)


def count_scored_frames(section: UnlearningSection, valid_frames: int) -> int | None:
    """Frames of a track that count in its score; None = all padded frames."""
    return valid_frames if is_track_masked(section.mask) else None


def cut_windows(model: Model, clip: Items, section: UnlearningSection) -> list[tuple[int, int]]:
    """Frame ranges of about `window_s` that tile the frames of a clip that count."""
    frames = count_unlearned_frames(model, clip, section)
    step = max(1, round(section.window_s * model.frame_rate))
    return [(start, min(start + step, frames)) for start in range(0, frames, step)]


def count_unlearned_frames(model: Model, clip: Items, section: UnlearningSection) -> int:
    """Frames of a clip that count in the loss that is unlearned."""
    return int(clip.valid_frames[0]) if is_clip_masked(section.mask) else model.frames


class ClipScores(NamedTuple):
    """Scores by unlearning, float64."""

    cells: np.ndarray  # [Q, N, R, S, HALVES]: partial scores; their mean is the score
    cohort: np.ndarray  # [K, N]
    windows: np.ndarray  # [Q shown, N, W]: parts of the score by window of the clip, NaN past a clip's last window


@dataclass(frozen=True)
class UnlearningStep:
    """Unlearning of any clip by the settings of `[unlearning]`."""

    section: UnlearningSection
    tracks: int  # N of the 1/N in the step: training tracks
    objective: str = "loss"  # what is differentiated, of clip and track alike: one of `item_gradients.OBJECTIVES`

    @property
    def scale(self) -> float:
        """alpha / N"""
        return self.section.learning_rate / self.tracks

    @property
    def kind(self) -> GradientKind:
        """The gradient of a track that its directions are multiplied with."""
        section = self.section
        return GradientKind(self.objective, section.layers, section.normalise_timesteps, is_track_masked(section.mask))

    @property
    def has_moments(self) -> bool:
        """False with normalised timesteps: a sum over frames cannot be scaled draw by draw."""
        return not self.section.normalise_timesteps

    def describe_settings(self) -> dict[str, Any]:
        """The section and the scale: a direction depends on them beside model, clip and curvature."""
        return {**list_values(self.section), "scale": self.scale, "objective": self.objective}

    # -- clips -------------------------------------------------------------------------------------------------------

    def compute_clip_gradients(
        self, model: Model, clip: Items, with_windows: bool, halves: Sequence[int] = BOTH_HALVES
    ) -> torch.Tensor:
        """Gradient of a clip's objective, [HALVES, W, P] float32: W windows that sum to the whole (W = 1 without).

        `halves`: which are computed; the others stay zero. A window's loss is the sum over its frames / the number of
        frames that count, so that windows add up exactly.
        """
        section, parameters = self.section, model.parameters(self.section.layers)
        with torch.no_grad():
            condition = model.condition(clip)
        counted = count_unlearned_frames(model, clip, section)
        windows = cut_windows(model, clip, section) if with_windows else [(0, counted)]
        bank = make_ascent_bank(section)
        total = torch.zeros(HALVES, len(windows), count_parameters(parameters))
        batch = 1 if section.normalise_timesteps else ASCENT_BATCH
        for half in halves:
            for start in range(0, bank.strata, batch):
                cells = [(half, stratum) for stratum in range(start, min(start + batch, bank.strata))]
                draws = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in cells]
                t, eps = (torch.cat(part) for part in zip(*draws, strict=True))
                own = bank.select_condition(condition, cells)
                predicted, target = model.predict(clip.latents[0], own, t, eps)
                frames = compute_by_frame(self.objective, predicted, target).sum(0) / bank.strata
                if section.normalise_timesteps:
                    total[half] += _differentiate_windows(frames, windows, parameters) / bank.strata
                    continue
                for w, (first, end) in enumerate(windows):
                    loss = frames[first:end].sum() / counted
                    total[half, w] += differentiate(loss, parameters, keep_graph=w + 1 < len(windows)).cpu()
        return total

    def compute_directions(
        self, model: Model, clip: Items, inverse_fisher: torch.Tensor, with_windows: bool
    ) -> torch.Tensor:
        """theta - theta_0 after all steps that unlearn one clip, [HALVES, W, P].

        Its products with a track's gradient are scores. `inverse_fisher`: [P].
        """
        if self.section.steps > 1:
            return self.walk(model, clip, inverse_fisher, with_windows, (self.section.steps,))[self.section.steps]
        return self.compute_one_step(model, clip, inverse_fisher, with_windows)

    def compute_one_step(
        self,
        model: Model,
        clip: Items,
        inverse_fisher: torch.Tensor,
        with_windows: bool,
        halves: Sequence[int] = BOTH_HALVES,
    ) -> torch.Tensor:
        """theta - theta_0 after one step, of some halves of the draws; the others are zero. [HALVES, W, P]"""
        return self.compute_clip_gradients(model, clip, with_windows, halves) * (self.scale * inverse_fisher)

    def walk(
        self, model: Model, clip: Items, inverse_fisher: torch.Tensor, with_windows: bool, at: Sequence[int]
    ) -> dict[int, torch.Tensor]:
        """theta_k - theta_0 for each number k of steps in `at`, [HALVES, W, P]; each half of the draws walks by itself.

        A window's part is what its own gradients added, so parts sum to the whole. With `relative_step` the learning
        rate is chosen so that the first step has that length relative to the weights, and the result is scaled back to
        `learning_rate`: with one step it changes nothing, with more it says how far the walk goes. The pull-back's
        factor is the learning rate, at most 1. The weights are put back exactly.
        """
        halves: dict[int, list[torch.Tensor]] = {steps: [] for steps in at}
        for half in range(HALVES):
            for steps, walked in self._walk_half(model, clip, inverse_fisher, with_windows, at, half).items():
                halves[steps].append(walked)
        return {steps: torch.stack(parts) for steps, parts in halves.items()}

    def _walk_half(
        self,
        model: Model,
        clip: Items,
        inverse_fisher: torch.Tensor,
        with_windows: bool,
        at: Sequence[int],
        half: int,
    ) -> dict[int, torch.Tensor]:
        """[W, P] by number of steps."""
        section, parameters = self.section, model.parameters(self.section.layers)
        reached: dict[int, torch.Tensor] = {}
        walked, rate = None, 1.0
        with restored_weights(parameters) as originals:
            length = measure_length(originals)
            for number in range(1, max(at) + 1):
                gradients = self.compute_clip_gradients(model, clip, with_windows, (half,))[half]
                step = gradients * (self.scale * inverse_fisher)  # [W, P], at `learning_rate`
                if walked is None:
                    walked = torch.zeros_like(step)
                    if section.relative_step:
                        rate = float(section.relative_step * length / step.sum(0).double().norm().clamp(min=1e-300))
                pull = min(1.0, section.learning_rate * rate) if section.pull_back else 0.0
                walked = walked * (1.0 - pull) + step * rate
                if number in at:
                    reached[number] = walked / rate
                with torch.no_grad():
                    for name, change in unflatten(walked.sum(0), parameters).items():
                        parameters[name].copy_(originals[name] + change.to(model.device))
        return reached

    def make_directions(
        self,
        model: Model,
        queries: Queries,
        load_inverse_fisher: Callable[[], torch.Tensor],
        config: RunConfig,
        cache: Cache,
        key: str,
    ) -> Directions:
        """The directions of all clips, computed when first needed; `key` names model, tracks and clips by content."""

        def compute(clip: Items, windows: bool) -> torch.Tensor:
            return self.compute_directions(model, clip, load_inverse_fisher(), windows)

        def compute_half(clip: Items, windows: bool, half: int) -> torch.Tensor:
            return self.compute_one_step(model, clip, load_inverse_fisher(), windows, (half,))

        rule = DirectionRule(compute, compute_half if self.section.steps == 1 else None, load_inverse_fisher)
        parameters = count_parameters(model.parameters(self.section.layers))
        key = fingerprint(key, self.section, config.fisher, self.objective)
        directions = Directions(queries, rule, model.device, parameters, cache, key)
        directions.memory_gb = config.pass_.memory_gb
        return directions

    def share_directions(self, context: Context) -> Directions:
        """The directions of a run's clips: one object for all methods that use them."""

        def make() -> Directions:
            load = context.load_inverse_fisher
            return self.make_directions(
                context.model, context.queries, load, context.config, context.cache, context.key
            )

        return context.make_once(self._name_directions(), make)

    def find_directions(self, context: Context) -> Directions | None:
        """What `share_directions` gave another method of this run; None where none asked."""
        return context.memo.get(self._name_directions())

    def _name_directions(self) -> str:
        return f"directions-{fingerprint(self.describe_settings())}"

    # -- tracks ------------------------------------------------------------------------------------------------------

    def compute_rises(self, model: Model, track: Items, direction: torch.Tensor, bank: NoiseBank) -> torch.Tensor:
        """Rise of a track's objective along `direction` [P], by draw of the bank and frame: [D, F] float64.

        Forward-mode derivative: no difference of near-equal numbers. Fused attention has none, the plain one is used.
        """
        parameters = model.parameters(self.section.layers)
        with torch.no_grad():
            condition = model.condition(track)
        draws = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in bank.cells()]
        t, eps = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
        condition = bank.select_condition(condition, bank.cells())
        rest = {n: p for n, p in model.network.model.named_parameters() if n not in parameters}

        def compute_frames(changed: dict[str, torch.Tensor]) -> torch.Tensor:
            predicted, target = model.predict(track.latents[0], condition, t, eps, weights={**rest, **changed})
            return compute_by_frame(self.objective, predicted, target)

        primal = {name: p.detach() for name, p in parameters.items()}
        tangent = {name: part.to(model.device) for name, part in unflatten(direction, parameters).items()}
        plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with plain, torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, of the first such derivative in a process
            rise = torch.func.jvp(compute_frames, (primal,), (tangent,))[1]
        rise = rise.double().cpu()
        frames = count_scored_frames(self.section, int(track.valid_frames[0]))
        if frames is not None:  # only valid frames count, and they carry the whole score
            rise[:, frames:] = 0.0
            rise *= model.frames / frames
        return rise

    def compute_moments(self, model: Model, track: Items, direction: torch.Tensor, bank: NoiseBank) -> torch.Tensor:
        """Rise of a track's objective along `direction` [P], frame by frame: [F] float64; its mean is the score."""
        return self.compute_rises(model, track, direction, bank).mean(0)

    def arrange_scores(self, products: Arrays, model: Model, queries: Queries, bank: NoiseBank) -> ClipScores:
        """Arrays of a `StepTap`, stacked over N tracks -> scores by clip."""
        clips = len(queries.shown) + len(queries.targets)
        cells = products["cells"].reshape(len(products["cells"]), bank.replicates, bank.strata, clips, -1)
        counts = [len(cut_windows(model, queries.shown[[row]], self.section)) for row in range(len(queries.shown))]
        sums, start = products["sums"], 0  # [N, all windows + K]
        by_window = np.full((len(counts), len(sums), max(counts, default=0)), np.nan)
        for q, number in enumerate(counts):
            by_window[q, :, :number] = sums[:, start : start + number]
            start += number
        return ClipScores(
            cells=np.ascontiguousarray(cells.transpose(3, 0, 1, 2, 4)),
            cohort=sums[:, start:].T.copy(),
            windows=by_window,
        )


def make_one_step(context: Context, normalised: bool = False, objective: str = "loss") -> UnlearningStep:
    """Unlearning by one step with the run's settings: its directions hold the clips' gradients u as s F^-1 u.

    Any other linear score u'Mg of a track's gradient g is their product with (M F / s) g, so that one set of directions
    serves all methods.
    """
    section = replace(
        context.config.unlearning, steps=1, relative_step=0.0, pull_back=True, normalise_timesteps=normalised
    )
    return UnlearningStep(section, len(context.trained), objective)


def _differentiate_windows(
    frames: torch.Tensor, windows: list[tuple[int, int]], parameters: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """[W, P]: gradients of one draw's frame losses [F] by window, their sum scaled to length 1."""
    last = len(windows) - 1
    rows = [differentiate(frames[a:b].sum(), parameters, keep_graph=w < last).cpu() for w, (a, b) in enumerate(windows)]
    stacked = torch.stack(rows)
    return stacked / stacked.sum(0).norm().clamp(min=TINY)
