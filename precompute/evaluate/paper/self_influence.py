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

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import run_jobs
from precompute.common.results import Row, describe_hardware, format_table, write_result
from precompute.common.sequences import spread_evenly
from precompute.config.run import LAYERS, MASKS, NO_WINDOWS_S, RunConfig, fingerprint
from precompute.corpus.intake import load_corpus
from precompute.errors import UserError
from precompute.evaluate.paper.fidelity import add_distances
from precompute.evaluate.paper.self_scores import SelfScores, UnlearningVariant
from precompute.gradients.context import Context, make_noise_bank
from precompute.gradients.finite_difference import audit_clip
from precompute.methods.passes import count_model_workers
from precompute.model.diffusion import load_model
from precompute.pipeline import make_context
from precompute.significance.ranks import correlate_with_property, rank_scores

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
AUDITED, AUDIT_TRACKS = 4, 40
SHARD = 32  # tracks embedded by one job


@dataclass(frozen=True)
class SelfInfluenceSettings:
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


def evaluate_self_influence(config: RunConfig, out: Path, options: SelfInfluenceSettings) -> dict[str, Any]:
    """Print the table, write JSON to `out`; what was written. Resumable. Raises UserError without a CLAP."""
    began = time.monotonic()
    unlearning = replace(config.unlearning, window_s=NO_WINDOWS_S, ascent_draws=options.draws)
    config = replace(config, unlearning=unlearning, clips=replace(config.clips, targets=0))
    corpus, model = load_corpus(config), load_model(config)
    if model.clap is None:
        raise UserError("[model] clap: self-influence chooses its targets by CLAP embeddings; name the CLAP's folder")
    context, _ = make_context(model, corpus, config, Cache(Path(config.output.work) / "cache"))
    context = replace(context, bank=make_noise_bank(config.bank))
    embeddings = load_clap_embeddings(context)
    chosen = choose_targets(embeddings, options.targets)
    run = SelfInfluence(context, embeddings, chosen, options)
    rows = run.rows()
    audited = run.finite_differences()
    run.found.delete_directions()
    if options.fd:
        ways = [(way.layers, way.mask) for way in run.ways]
        rows = add_distances(context, run.found.inverse_fisher, ways, rows, run.targets, options)
    print(format_table(rows, COLUMNS), flush=True)
    for row in audited:
        print(f"finite difference, step {row['relative_step']:g}: rho {row['rho']:.4f}, least {row['least']:.4f}")
    return write_result(
        out,
        f"self-influence of {len(chosen)} training tracks; CLAP similarity to the {options.top} tracks at either end",
        "python -m precompute evaluate self-influence",
        describe_hardware(str(model.device)),
        rows,
        finite_differences=audited,
        seconds=time.monotonic() - began,
        settings=vars(options) | {"bank": vars(config.bank)},
        model_sha256=model.sha256,
    )


def load_clap_embeddings(context: Context) -> np.ndarray:
    """Of the training tracks, [n, E], length 1; kept."""
    clap, rows = context.model.clap, context.trained
    shards = [rows[start : start + SHARD] for start in range(0, len(rows), SHARD)]
    key = fingerprint(context.track_key, context.model.inputs_sha256, "clap")

    def kept(number: int) -> np.ndarray:
        def compute() -> Arrays:
            waves = [context.load_audio("tracks", row, clap.sample_rate)[0].mean(0) for row in shards[number]]
            return {"embeddings": np.stack([clap.audio([wave])[0].numpy() for wave in waves])}

        return context.cache.get(Entry("self-clap", key, number), compute)["embeddings"]

    what = f"CLAP embeddings, {SHARD} tracks each"
    run_jobs(what, range(len(shards)), kept, count_model_workers(context), context.cache)
    return np.concatenate([kept(number) for number in range(len(shards))])


def choose_targets(embeddings: np.ndarray, count: int) -> list[int]:
    """Rows of the tracks nearest to the centres of `count` clusters, ascending, no row twice."""
    from sklearn.cluster import KMeans

    count = min(count, len(embeddings))
    centres = KMeans(n_clusters=count, n_init=10, random_state=0).fit(embeddings).cluster_centers_
    nearest = np.argsort(((embeddings[:, None] - centres) ** 2).sum(-1), axis=0)
    chosen: list[int] = []
    for order in nearest.T:
        chosen.append(int(next(row for row in order if row not in chosen)))
    return sorted(chosen)


class SelfInfluence:
    """The settings that are compared, on one set of targets."""

    def __init__(
        self, context: Context, embeddings: np.ndarray, chosen: Sequence[int], options: SelfInfluenceSettings
    ) -> None:
        """`embeddings` [n, E] and `chosen`: of and among the training tracks."""
        self.context, self.embeddings, self.chosen, self.options = context, embeddings, list(chosen), options
        self.items = context.items[context.trained]
        self.targets = self.items[self.chosen]
        self.seconds_of_tracks = np.array([context.tracks[row].duration_s for row in context.trained])
        self.ways = [
            UnlearningVariant(*way)
            for way in itertools.product(options.layers, options.masks, sorted(set(options.steps)))
        ]
        self.found = SelfScores(context, self.items, chosen, self.ways, options.relative_step)

    def rows(self) -> list[Row]:
        """The table."""
        rows = []
        for way, scores in self.found.scores().items():
            row: Row = {**vars(way), **self.measure(scores), "seconds": self.found.seconds(way)}
            if way.steps == 1 and (way.layers, way.mask) in PAPER:
                row |= dict(zip(("paper_R", "paper_top", "paper_bottom"), PAPER[way.layers, way.mask], strict=True))
            rows.append(row)
        return rows

    def measure(self, scores: np.ndarray) -> Row:
        """Of scores [T, n] of the targets' own rankings."""
        own = rank_scores(scores)[np.arange(len(scores)), self.chosen]
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
            "duration_correlation": correlate_with_property(scores, self.seconds_of_tracks),
            "tracks": scores.shape[1],
        }

    def audited_way(self) -> UnlearningVariant:
        """The run's own layers and mask where they are among those tried, by the fewest steps; else the first."""
        section, least = self.context.config.unlearning, min(self.options.steps)
        own = UnlearningVariant(section.layers, section.mask, least)
        return own if own in self.ways else next(way for way in self.ways if way.steps == least)

    def finite_differences(self) -> list[Row]:
        """Rank correlation of finite differences with gradient products, by relative step; some targets and tracks."""
        context, way = self.context, self.audited_way()
        rows = spread_evenly(len(self.items), AUDIT_TRACKS)
        targets = spread_evenly(len(self.targets), AUDITED)
        section, fast = self.found.section(way), self.found.scores()[way]
        key = fingerprint(self.found.key, way.name, AUDIT_TRACKS, RELATIVE_STEPS)

        def audit(number: int) -> None:
            def compute() -> Arrays:
                direction, own = self.found.direction(way, number), fast[number, rows]
                arguments = (self.items[rows], direction, own, section, context.bank, RELATIVE_STEPS)
                return {"rho": np.array(audit_clip(context.model, *arguments))}

            context.cache.ensure(Entry("self-audit", key, number), compute)

        missing = [q for q in targets if not context.cache.has(Entry("self-audit", key, q))]
        self.found.ensure(missing)
        run_jobs("finite differences", missing, audit, self.found.workers, context.cache)
        rhos = [context.cache.read(Entry("self-audit", key, number))["rho"] for number in targets]
        return [
            {
                "layers": way.layers,
                "mask": way.mask,
                "relative_step": step,
                "rho": float(v.mean()),
                "least": float(v.min()),
            }
            for step, v in zip(RELATIVE_STEPS, np.array(rhos).T, strict=True)
        ]
