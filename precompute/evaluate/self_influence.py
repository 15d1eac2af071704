"""Self-influence, as the reference paper tables it: does a training track that is unlearned find itself?

Targets: k-means on CLAP embeddings of the training tracks, the track nearest to each centre. For every layer group,
mask and number of steps a target's ranking of the training tracks by way (c) along theta_k - theta_0, and of that:
R, the mean rank of the target in its own list (1 = always itself); CLAP_topk and CLAP_botk, its mean CLAP similarity to
the k tracks ranked highest and lowest, itself left out; the rank correlation of score and length; the time. It is
necessary and far from sufficient: see the decoys.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.cache import Arrays, Cache, progress
from precompute.calibrate import correlation_with, ranks
from precompute.config import LAYERS, MASKS, NO_WINDOWS_S, RunConfig, fingerprint
from precompute.curvature import kept_fisher
from precompute.directions import Directions, Tap, dot
from precompute.engine import gather, noise_bank, seconds_of
from precompute.errors import UserError
from precompute.evaluate.audit import audit_clip
from precompute.evaluate.fidelity import distance_rows
from precompute.evaluate.result import Row, table, write_result
from precompute.fisher import evenly, inverse
from precompute.methods.base import Context, Queries
from precompute.methods.unlearning import MASKED, Unlearning
from precompute.pipeline import make_context
from precompute.stages import load_corpus, load_model

COLUMNS = ("layers", "mask", "steps", "R", "clap_top", "clap_bottom", "duration_correlation", "seconds", "frechet")
PAPER = {  # R, CLAP_topk, CLAP_botk of arXiv 2506.18312, one step; its k and the masks of the first three are not given
    ("to_kv", "mixed"): (103.2, 0.38, 0.35),
    ("cross_attn", "mixed"): (1.4, 0.60, 0.32),
    ("self_attn", "mixed"): (1.1, 0.63, 0.30),
    ("all", "dual"): (1.0, 0.80, 0.38),
    ("all", "none"): (6615.7, 0.82, 0.42),
    ("all", "mixed"): (1.0, 0.66, 0.26),
}
RELATIVE_STEPS = (1e-5, 1e-4, 1e-3)  # of the finite differences
AUDITED, AUDIT_TRACKS = 4, 60


@dataclass(frozen=True)
class Options:
    """What is tried, and how much of it."""

    targets: int = 40
    layers: tuple[str, ...] = LAYERS
    masks: tuple[str, ...] = MASKS
    steps: tuple[int, ...] = (1, 4)
    relative_step: float = 1e-3  # length of the first of several steps, relative to the weights
    draws: int = 8  # of a target's gradient, a step
    top: int = 10  # k
    fd: int = 0  # clips for the Fréchet distance before and after; 0 = none

    def __post_init__(self) -> None:
        for name, known in (("layers", LAYERS), ("masks", MASKS)):
            for value in getattr(self, name):
                if value not in known:
                    raise UserError(f"--{name} {value}: choose from {', '.join(known)}")
        if self.targets < 2 or self.top < 1 or min(self.steps) < 1:
            raise UserError("evaluate self-influence: at least 2 targets, 1 step and 1 track on top")


def evaluate_self_influence(config: RunConfig, out: Path, options: Options) -> dict[str, Any]:
    """Print the table, write JSON to `out`; what was written. Resumable. Raises UserError without a CLAP."""
    began = time.monotonic()
    unlearning = replace(config.unlearning, window_s=NO_WINDOWS_S, ascent_draws=options.draws)
    config = replace(config, unlearning=unlearning, clips=replace(config.clips, targets=0))
    corpus, model = load_corpus(config), load_model(config)
    if model.clap is None:
        raise UserError("[model] clap: self-influence chooses its targets by CLAP embeddings; name the CLAP's folder")
    context, _ = make_context(model, corpus, config, Cache(Path(config.output.work) / "cache"))
    context = replace(context, bank=noise_bank(config.bank))
    embeddings = clap_embeddings(context)
    chosen = kmeans_targets(embeddings[context.trained], options.targets)
    run = Run(context, embeddings[context.trained], chosen, options)
    rows = [row for layers in options.layers for row in run.of_layers(layers)]
    if options.fd:
        rows = distance_rows(context, run.sections(), rows, run.targets, options.fd)
    audited = run.finite_differences()
    print(table(rows, COLUMNS), flush=True)
    for row in audited:
        print(f"finite difference, step {row['relative_step']:g}: rho {row['rho']:.4f}, least {row['least']:.4f}")
    return write_result(
        out,
        f"self-influence of {len(chosen)} training tracks; CLAP similarity to the {options.top} tracks at either end",
        "python -m precompute evaluate self-influence",
        str(model.device),
        rows,
        finite_differences=audited,
        seconds=time.monotonic() - began,
        settings=vars(options) | {"bank": vars(config.bank)},
        model_sha256=model.sha256,
    )


def clap_embeddings(context: Context) -> np.ndarray:
    """Of all tracks, [N, E], length 1; kept."""
    clap = context.model.clap

    def compute() -> Arrays:
        rows = []
        for row in progress("CLAP embeddings", range(len(context.tracks))):
            wave, _ = context.audio("tracks", row, clap.sample_rate)
            rows.append(clap.audio([wave.mean(0)])[0].numpy())
        return {"embeddings": np.stack(rows)}

    key = fingerprint(context.track_key, context.model.inputs_sha256, "clap")
    return context.cache.get("self-clap", key, compute)["embeddings"]


def kmeans_targets(embeddings: np.ndarray, count: int) -> list[int]:
    """Rows of the tracks nearest to the centres of `count` clusters, ascending, no row twice."""
    from sklearn.cluster import KMeans

    count = min(count, len(embeddings))
    centres = KMeans(n_clusters=count, n_init=10, random_state=0).fit(embeddings).cluster_centers_
    nearest = np.argsort(((embeddings[:, None] - centres) ** 2).sum(-1), axis=0)
    chosen: list[int] = []
    for order in nearest.T:
        chosen.append(int(next(row for row in order if row not in chosen)))
    return sorted(chosen)


class Run:
    """The settings that are compared, on one set of targets."""

    def __init__(self, context: Context, embeddings: np.ndarray, chosen: Sequence[int], options: Options) -> None:
        """`embeddings` [n, E] and `chosen`: of and among the training tracks."""
        self.context, self.embeddings, self.chosen, self.options = context, embeddings, list(chosen), options
        self.items = context.items[context.trained]
        self.targets = self.items[self.chosen]
        self.seconds_of_tracks = np.array([context.tracks[row].duration_s for row in context.trained])

    def section(self, layers: str, mask: str, steps: int) -> Any:
        """[unlearning] of one row of the table."""
        relative = self.options.relative_step if steps > 1 else 0.0
        return replace(self.context.config.unlearning, layers=layers, mask=mask, steps=steps, relative_step=relative)

    def sections(self) -> list[Any]:
        options = self.options
        return [self.section(*way) for way in itertools.product(options.layers, options.masks, options.steps)]

    def of_layers(self, layers: str) -> list[Row]:
        """Rows of one layer group: its directions are held together, and deleted from disk when the group is done."""
        print(f"self-influence: {layers}", flush=True)
        context = self.context
        ways = list(itertools.product(self.options.masks, self.options.steps))
        taps = {way: self.tap(layers, *way) for way in ways}
        found = gather(context.model, self.items, context.bank, list(taps.values()), context.cache)
        rows = []
        for mask, steps in ways:
            tap = taps[mask, steps]
            scores = found[tap.stage, tap.key]["scores"].T  # [T, n]
            rows.append({"layers": layers, "mask": mask, "steps": steps, **self.measures(scores)})
            rows[-1]["seconds"] = seconds_of([tap], context.model, len(self.items), context.cache)
            if steps == 1 and (layers, mask) in PAPER:
                rows[-1] |= dict(zip(("paper_R", "paper_top", "paper_bottom"), PAPER[layers, mask], strict=True))
        for tap in taps.values():
            tap.delete()
        return rows

    def tap(self, layers: str, mask: str, steps: int) -> TargetTap:
        context = self.context
        method = Unlearning(self.section(layers, mask, steps), len(self.items))
        config = replace(context.config, unlearning=method.section)

        def inverse_fisher() -> torch.Tensor:
            key = context.track_key
            fisher = kept_fisher(context.model, self.items, config, context.cache, key)
            return inverse(fisher, config.fisher.damping)

        none = context.queries.cohort[[]]
        queries = Queries(shown=none, targets=self.targets, cohort=none)
        masked = MASKED[mask][0]  # mixed and dual unlearn alike
        key = fingerprint(context.track_key, self.chosen, "self-influence", masked)
        unlearnt = Unlearning(self.section(layers, "mixed" if masked else "none", steps), len(self.items))
        made = context.once(
            f"self-{layers}-{masked}-{steps}",
            lambda: unlearnt.clip_directions(context.model, queries, inverse_fisher, config, context.cache, key),
        )
        return TargetTap(made, method, fingerprint(made.key, config.bank, MASKED[mask][1]))

    def measures(self, scores: np.ndarray) -> Row:
        """Of scores [T, n] of the targets' own rankings."""
        own = ranks(scores)[np.arange(len(scores)), self.chosen]
        similar = self.embeddings[self.chosen] @ self.embeddings.T
        top, bottom = [], []
        for q, target in enumerate(self.chosen):
            order = [row for row in np.argsort(-scores[q], kind="stable") if row != target]
            top.append(similar[q, order[: self.options.top]].mean())
            bottom.append(similar[q, order[-self.options.top :]].mean())
        return {
            "R": float(own.mean()),
            "clap_top": float(np.mean(top)),
            "clap_bottom": float(np.mean(bottom)),
            "duration_correlation": correlation_with(scores, self.seconds_of_tracks),
            "tracks": scores.shape[1],
        }

    def finite_differences(self) -> list[Row]:
        """Way (a) beside way (c): rank correlation for some targets and tracks at each relative step.

        The run's own layers and mask, one step.
        """
        section = replace(self.context.config.unlearning, steps=1, relative_step=0.0)
        method, context = Unlearning(section, len(self.items)), self.context
        inverse_fisher = context.inverse_fisher()
        items = self.items[evenly(len(self.items), AUDIT_TRACKS)]
        rhos = []
        for target in progress("finite differences", evenly(len(self.targets), AUDITED)):
            direction = method.directions(context.model, self.targets[[target]], inverse_fisher, False).sum(1).mean(0)
            fast = [
                float(dot(method.gradients(context.model, items[[row]], context.bank), direction[None]).mean())
                for row in range(len(items))
            ]
            arguments = (items, direction, np.array(fast), section, context.bank, RELATIVE_STEPS)
            rhos.append(audit_clip(context.model, *arguments))
        by_step = np.array(rhos).T
        return [
            {"relative_step": step, "rho": float(values.mean()), "least": float(values.min())}
            for step, values in zip(RELATIVE_STEPS, by_step, strict=True)
        ]


class TargetTap(Tap):
    """Products of a track's mean gradient with the targets' directions over both halves."""

    def __init__(self, directions: Directions, method: Unlearning, key: str) -> None:
        super().__init__("self-scores", key, method.kind, directions.parameters)
        self.directions = directions
        self.steps: torch.Tensor | None = None

    def prepare(self) -> None:
        self.directions.ensure()
        self.steps = self.directions.stack()

    def take(self, rows: torch.Tensor, losses: torch.Tensor) -> Arrays:
        assert self.steps is not None
        return {"scores": dot(rows.mean(0, keepdim=True), self.steps)[0].numpy()}

    def release(self) -> None:
        self.steps = None
        self.directions.release()

    def seconds(self, cache: Cache) -> float:
        return self.directions.seconds()

    def delete(self) -> None:
        """Remove the directions from disk: gigabytes that nothing else uses."""
        for number in range(len(self.directions.jobs)):
            self.directions.cache.path(f"direction-{number:04d}", self.directions.key).unlink(missing_ok=True)
