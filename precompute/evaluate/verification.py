"""The verb `verify`: recomputes a few scores of a store the naive way, from the shipped audio and weights.

Unlearning: each clip is unlearned and losses are subtracted (finite differences). Stored scores and these must agree in
rank, rho >= 0.99.

D-TRAK: full gradients of the squared output, one autograd call a draw. A score rests on the gradients of all training
tracks under all draws. Where the caches of the run hold their sketches, the ridge regression is taken from there; the
gradients of clip and track are computed here, multiplied in full, and must agree with the stored scores, r >= 0.99.
Where they do not, all of it is computed here, with one draw a stratum for each training track (of the demo's 64, 4),
and r >= 0.8 over all of them is asked: that tells that the scores are of this model, these tracks and this clip, not
that each of them is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.clips.generation import load_clips
from precompute.clips.prompts import Prompt
from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import load_latents
from precompute.errors import UserError
from precompute.gradients.context import Context, Queries, make_bare_context
from precompute.gradients.finite_difference import audit_clip
from precompute.gradients.fisher import name_fisher
from precompute.gradients.flat_vectors import differentiate, scale_to_length_one
from precompute.gradients.item_gradients import GradientKind, compute_objective
from precompute.gradients.sketches import TrackRidge
from precompute.gradients.steps import UnlearningStep, make_ascent_bank
from precompute.gradients.taps import share_sketch
from precompute.gradients.track_pass import TrackPass
from precompute.methods.catalogue import build_method
from precompute.methods.trak import DTrak
from precompute.model.diffusion import Items, Model, NoiseBank, load_model
from precompute.model.precision import predict
from precompute.store.reading import open_store

VERIFIED = ("dtrak", "unlearning")  # methods that have a naive twin here
LEAST_RHO = 0.99  # correlation of a clip's scores with those of the naive twin
LEAST_FEW_DRAWS = 0.8  # ... where the twin has few draws; two such twins of the demo agree at 0.87 to 0.96


@dataclass(frozen=True)
class Sample:
    """The part of a store that is recomputed."""

    context: Context  # tracks of the run; its shown clips are those of the store
    prompts: list[Prompt]  # of the clips
    clips: list[int]  # rows of the clips that are recomputed
    tracks: list[int]  # rows of the tracks
    stored: dict[str, dict[int, dict[int, float]]]  # scores by method, clip and track

    def read(self, method: str, clip: int, rows: Iterable[int]) -> np.ndarray:
        """Stored scores of one clip (by row) for some tracks (by row)."""
        by_track = self.stored[method][self.prompts[clip].clip_id]
        return np.array([by_track[self.context.tracks[row].track_id] for row in rows])


def verify_store(config: RunConfig, store_path: Path, clips: int, tracks: int, methods: Sequence[str] = ()) -> None:
    """Recompute scores of `clips` clips x `tracks` tracks, and print how far they agree with those of the store.

    `methods`: which of VERIFIED; none named: the store's default, and others where the caches spare minutes. Raises
    UserError where the store is of another model, has none of these methods, or its scores are not reproduced.
    """
    model = load_model(config)
    stored, default = _read_scores(store_path, model)
    cache, corpus = Cache(Path(config.output.work) / "cache"), load_corpus(config)
    items, key = load_latents(model, corpus, config, cache)
    prompts, shown = load_clips(model, config, cache)
    queries = Queries(shown=shown, targets=shown[[]], cohort=shown[[]])
    context = make_bare_context(model, corpus.tracks, items, queries, config, cache, key)
    chosen = spread_evenly(len(prompts), clips), spread_evenly(len(corpus.tracks), tracks)
    sample = Sample(context, prompts, *chosen, stored)
    for name in _choose_methods(sample, methods, default, store_path):
        worst, what, least = _verify_unlearning(sample) if name == "unlearning" else _verify_dtrak(sample)
        if not worst >= least:
            raise UserError(
                f"{store_path}: its scores by {name} are not reproduced by the naive twin ({worst:.4f} < {least})"
            )
        print(f"verified: {name}, {what} of {store_path.name}, worst correlation {worst:.4f}", flush=True)


def _read_scores(store_path: Path, model: Model) -> tuple[dict[str, dict[int, dict[int, float]]], str]:
    """Scores of generated clips by method, clip and track; name of the default method. Raises UserError."""
    with open_store(store_path) as store:
        made_with = store.runs.read_latest().model_sha256
        if made_with != model.sha256:
            raise UserError(
                f"{store_path}: made with another model ({made_with[:12]}, here {model.sha256[:12]});"
                " run `python -m precompute run --config precompute/configs/demo-full.toml`"
            )
        scores: dict[str, dict[int, dict[int, float]]] = {}
        shown = [clip.clip_id for clip in store.clips.list_scored() if clip.kind != "track"]
        for method in store.runs.list_methods():
            if method.name in VERIFIED:
                frames = {clip_id: store.scores.read_frame(method.method_id, clip_id) for clip_id in shown}
                columns = {q: (f["track_id"].tolist(), f["score"].tolist()) for q, f in frames.items()}
                scores[method.name] = {q: dict(zip(*pair, strict=True)) for q, pair in columns.items()}
        return scores, store.info.default_method


def _choose_methods(sample: Sample, named: Sequence[str], default: str, store_path: Path) -> list[str]:
    """The methods that are verified, the default first. Raises UserError where there is none."""
    missing = [name for name in named if name not in sample.stored]
    if missing or not sample.stored:
        raise UserError(f"{store_path}: holds no scores by {' or '.join(missing or VERIFIED)}")
    present = sorted(sample.stored, key=lambda name: name != default)
    chosen = [name for name in present if name in named] if named else present[:1]
    for name in [] if named else present[1:]:
        if _is_cached(sample.context, name):
            chosen.append(name)
        else:
            print(f"not verified: {name}, whose caches are not in the run's folder; --method {name} takes the time")
    return chosen


# -- unlearning --------------------------------------------------------------------------------------------------------


def _verify_unlearning(sample: Sample) -> tuple[float, str, float]:
    """Worst rank correlation with finite differences, what was compared, and the least that is asked."""
    context, rows, worst = sample.context, sample.tracks, 1.0
    section, model = context.config.unlearning, context.model
    step, inverse_fisher = UnlearningStep(section, len(context.trained)), context.load_inverse_fisher()
    for q in sample.clips:
        clip = context.select_clip("shown", q)
        direction = step.compute_directions(model, clip, inverse_fisher, False).sum(1).mean(0)
        fast = sample.read("unlearning", q, rows)
        rhos = audit_clip(model, context.items[rows], direction, fast, section, context.bank)
        print(
            f"unlearning, clip {sample.prompts[q].clip_id}: rho {rhos[0]:.4f} (relative step 1e-5), {rhos[1]:.4f}"
            f" (1e-4), {len(rows)} tracks",
            flush=True,
        )
        worst = min(worst, max(rhos))
    return worst, f"{len(sample.clips)} clips x {len(rows)} tracks", LEAST_RHO


# -- D-TRAK ------------------------------------------------------------------------------------------------------------


def _verify_dtrak(sample: Sample) -> tuple[float, str, float]:
    """Worst correlation with the naive twin, what was compared, and the least that is asked."""
    method = build_method("dtrak", sample.context.config, len(sample.context.trained))
    assert isinstance(method, DTrak)
    context = method.focus(sample.context)
    clips = [_sketch_clip(context, method, q) for q in sample.clips]
    if _is_cached(sample.context, "dtrak"):
        return _verify_fully(replace(sample, context=context), method, clips)
    return _verify_by_few_draws(replace(sample, context=context), method, clips)


def _is_cached(context: Context, name: str) -> bool:
    """True where the run's caches hold what takes minutes: D-TRAK's sketches of all tracks; the Fisher information."""
    if name == "unlearning":
        return context.cache.has(name_fisher(context.config, context.track_key))
    method = build_method("dtrak", context.config, len(context.trained))
    assert isinstance(method, DTrak)
    taps = list(method.make_taps(method.focus(context)).values())
    return not TrackPass(context.model, context.items, context.bank, taps, context.cache).find_missing()


def _verify_fully(sample: Sample, method: DTrak, clips: list[np.ndarray]) -> tuple[float, str, float]:
    """Every draw of clips and tracks; the ridge regression from the run's caches."""
    context, rows, worst = sample.context, sample.tracks, 1.0
    sketches = method.gather_records(context)["sketches"]["sketches"]
    ridge = method.share_ridge(context, lambda: sketches)
    directions = [method.expand(context, ridge, halves).double() for halves in clips]
    kind = context.choose_track_kind(method.settings.normalise_timesteps, method.choose_objective())
    recomputed = np.zeros((len(clips), len(rows)))
    for n, row in enumerate(rows):
        rows_of = differentiate_naively(context.model, context.items[[row]], kind, context.bank, predict)
        gradient = rows_of.mean(0).double()
        recomputed[:, n] = [float(direction @ gradient) * ridge.factor[row] for direction in directions]
    for q, scores in zip(sample.clips, recomputed, strict=True):
        r = float(np.corrcoef(scores, sample.read("dtrak", q, rows))[0, 1])
        print(f"dtrak, clip {sample.prompts[q].clip_id}: r {r:.4f}, {len(rows)} tracks, ridge from the caches")
        worst = min(worst, r)
    return worst, f"{len(clips)} clips x {len(rows)} tracks", LEAST_RHO


def _verify_by_few_draws(sample: Sample, method: DTrak, clips: list[np.ndarray]) -> tuple[float, str, float]:
    """All training tracks under two draws a stratum, by workers; nothing of the run is used."""
    context, trained, worst = sample.context, sample.context.trained, 1.0
    bank = replace(context.bank, replicates=2, draws_per_cell=1)
    kind = context.choose_track_kind(method.settings.normalise_timesteps, method.choose_objective())
    sketch = share_sketch(context, method.settings.width, method.settings.seed)
    key = fingerprint(context.track_key, bank, kind, method.describe_settings())

    def compute(number: int) -> np.ndarray:
        def differentiate_track() -> Arrays:
            gradient = differentiate_naively(context.model, context.items[[trained[number]]], kind, bank)
            return {"sketch": sketch(gradient).numpy()}

        return context.cache.get(Entry("verify", key, number), differentiate_track)["sketch"]

    workers = count_workers(context.model.device, context.parameter_count)
    run_jobs("D-TRAK anew, few draws", range(len(trained)), compute, workers, context.cache)
    tracks = np.stack([compute(number) for number in range(len(trained))])  # [N, 1, k]
    ridge = TrackRidge.fit(tracks, range(len(trained)), method.settings.damping)
    draws = len(context.bank.cells()) * context.bank.draws_per_cell
    for q, scores in zip(sample.clips, ridge.score(np.stack([c.mean(0) for c in clips]), tracks), strict=True):
        r = float(np.corrcoef(scores, sample.read("dtrak", q, trained))[0, 1])
        few = f"{len(bank.cells())} draws a track in place of {draws}"
        print(f"dtrak, clip {sample.prompts[q].clip_id}: r {r:.4f}, {len(trained)} training tracks, {few}", flush=True)
        worst = min(worst, r)
    return worst, f"{len(clips)} clips x {len(trained)} tracks with {few}", LEAST_FEW_DRAWS


def _sketch_clip(context: Context, method: DTrak, clip: int) -> np.ndarray:
    """Sketches of a clip's naive gradients by half, [HALVES, k]."""
    kind = context.choose_clip_kind(method.settings.normalise_timesteps, method.choose_objective())
    bank = make_ascent_bank(context.config.unlearning)
    gradient = differentiate_naively(context.model, context.select_clip("shown", clip), kind, bank)
    return share_sketch(context, method.settings.width, method.settings.seed)(gradient).numpy()


def differentiate_naively(
    model: Model, item: Items, kind: GradientKind, bank: NoiseBank, run: Callable[..., Any] = Model.predict
) -> torch.Tensor:
    """Gradients of one track or clip by replicate, [R, P]: one autograd call for each draw, nothing shared.

    `run`: `Model.predict` in fp32, or `precision.predict`, in the precision of the run's pass.
    """
    parameters, frames = model.parameters(kind.layers), int(item.valid_frames[0]) if kind.masked else None
    with torch.no_grad():
        condition = model.condition(item)
    total = torch.zeros(bank.replicates, sum(p.numel() for p in parameters.values()))
    for replicate, stratum in bank.cells():
        own = condition
        if not bank.has_caption(replicate, stratum):
            own = {**condition, "cross_attn_cond": torch.zeros_like(condition["cross_attn_cond"])}
        ts, noises = bank.cell(replicate, stratum, (model.latent_channels, model.frames))
        row = torch.zeros(total.shape[1])
        for t, eps in zip(ts, noises, strict=True):
            predicted, target = run(model, item.latents[0], own, t[None], eps[None])
            one = differentiate(compute_objective(kind.objective, predicted, target, frames), parameters).cpu()
            row += scale_to_length_one(one[None])[0] if kind.normalised else one
        total[replicate] += row / len(ts) / bank.strata
    return total
