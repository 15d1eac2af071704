"""Self-influence, as the reference paper tables it: does a training track that is unlearned find itself?

Targets: k-means on CLAP embeddings of the training tracks, the track nearest to each centre. Every layer group, mask
and number of steps ranks the training tracks for a target by gradient products with theta_k - theta_0. Measured are R,
the mean rank of the target in its own list (1 = always itself); CLAP_topk and CLAP_botk, its mean CLAP similarity to
the k tracks ranked highest and lowest, itself left out; the rank correlation of score and length; the time. To find
itself is necessary for a method and far from sufficient: see the decoys.
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
from precompute.evaluate.paper.fidelity import FidelitySettings, add_distances
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
NO_CLAP = "[model] clap: self-influence chooses its targets by CLAP embeddings; name the CLAP's folder"


@dataclass(frozen=True)
class SelfInfluenceSettings:
    """Variants that are compared, and how much is computed; it checks itself."""

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


def evaluate_self_influence(config: RunConfig, out: Path, settings: SelfInfluenceSettings) -> dict[str, Any]:
    """Print the table and write JSON to `out`; returns what was written. Raises UserError without a CLAP.

    A killed run goes on where it was.
    """
    began = time.monotonic()
    unlearning = replace(config.unlearning, window_s=NO_WINDOWS_S, ascent_draws=settings.draws)
    config = replace(config, unlearning=unlearning, clips=replace(config.clips, targets=0))
    corpus, model = load_corpus(config), load_model(config)
    if model.clap is None:
        raise UserError(NO_CLAP)
    context, _ = make_context(model, corpus, config, Cache(Path(config.output.work) / "cache"))
    context = replace(context, bank=make_noise_bank(config.bank))
    embeddings = load_clap_embeddings(context)
    chosen = choose_targets(embeddings, settings.targets)
    run = SelfInfluence(context, embeddings, chosen, settings)
    rows = run.tabulate()
    audited = run.audit()
    run.scorer.delete_directions()
    if settings.fd:
        variants = [(variant.layers, variant.mask) for variant in run.variants]
        fidelity = FidelitySettings(settings.fd, settings.relative_step)
        rows = add_distances(context, run.scorer.load_inverse_fisher, variants, rows, run.targets[[0]], fidelity)
    print(format_table(rows, COLUMNS), flush=True)
    for row in audited:
        print(f"finite difference, step {row['relative_step']:g}: rho {row['rho']:.4f}, least {row['least']:.4f}")
    return write_result(
        out,
        f"self-influence of {len(chosen)} training tracks; CLAP similarity to the {settings.top} tracks at either end",
        "python -m precompute evaluate self-influence",
        describe_hardware(str(model.device)),
        rows,
        finite_differences=audited,
        seconds=time.monotonic() - began,
        settings=vars(settings) | {"bank": vars(config.bank)},
        model_sha256=model.sha256,
    )


def load_clap_embeddings(context: Context) -> np.ndarray:
    """CLAP embeddings of the training tracks, [n, E], of length 1; cached."""
    clap, rows = context.model.clap, context.trained
    if clap is None:
        raise UserError(NO_CLAP)
    shards = [rows[start : start + SHARD] for start in range(0, len(rows), SHARD)]
    key = fingerprint(context.track_key, context.model.inputs_sha256, "clap")

    def embed_shard(number: int) -> np.ndarray:
        def compute() -> Arrays:
            waves = [context.load_audio("tracks", row, clap.sample_rate)[0].mean(0) for row in shards[number]]
            return {"embeddings": np.stack([clap.audio([wave])[0].numpy() for wave in waves])}

        return context.cache.get(Entry("self-clap", key, number), compute)["embeddings"]

    what = f"CLAP embeddings, {SHARD} tracks each"
    run_jobs(what, range(len(shards)), embed_shard, count_model_workers(context), context.cache)
    return np.concatenate([embed_shard(number) for number in range(len(shards))])


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
    """Compares variants of unlearning on one set of targets."""

    def __init__(
        self, context: Context, embeddings: np.ndarray, chosen: Sequence[int], settings: SelfInfluenceSettings
    ) -> None:
        """`embeddings` [n, E]: of the training tracks; `chosen`: rows of the targets among them."""
        self.context, self.embeddings, self.chosen, self.settings = context, embeddings, list(chosen), settings
        self.items = context.items[context.trained]
        self.targets = self.items[self.chosen]
        self.seconds_of_tracks = np.array([context.tracks[row].duration_s for row in context.trained])
        self.variants = [
            UnlearningVariant(*variant)
            for variant in itertools.product(settings.layers, settings.masks, sorted(set(settings.steps)))
        ]
        self.scorer = SelfScores(context, self.items, chosen, self.variants, settings.relative_step)

    def tabulate(self) -> list[Row]:
        """Rows of the table, one a variant."""
        rows = []
        for variant, scores in self.scorer.compute_scores().items():
            row: Row = {**vars(variant), **self.measure(scores), "seconds": self.scorer.sum_seconds(variant)}
            if variant.steps == 1 and (variant.layers, variant.mask) in PAPER:
                row |= dict(
                    zip(("paper_R", "paper_top", "paper_bottom"), PAPER[variant.layers, variant.mask], strict=True)
                )
            rows.append(row)
        return rows

    def measure(self, scores: np.ndarray) -> Row:
        """Measures of the targets' rankings, from scores [T, n]."""
        own = rank_scores(scores)[np.arange(len(scores)), self.chosen]
        similar = self.embeddings[self.chosen] @ self.embeddings.T
        top, bottom = [], []
        for q, target in enumerate(self.chosen):
            order = [row for row in np.argsort(-scores[q], kind="stable") if row != target]
            top.append(similar[q, order[: self.settings.top]].mean())
            bottom.append(similar[q, order[-self.settings.top :]].mean())
        return {
            "R": float(own.mean()),
            "clap_top": float(np.mean(top)),
            "clap_bottom": float(np.mean(bottom)),
            "duration_correlation": correlate_with_property(scores, self.seconds_of_tracks),
            "tracks": scores.shape[1],
        }

    def choose_audited_variant(self) -> UnlearningVariant:
        """The run's own layers and mask where they are among the variants, by the fewest steps; else the first such."""
        section, least = self.context.config.unlearning, min(self.settings.steps)
        own = UnlearningVariant(section.layers, section.mask, least)
        return own if own in self.variants else next(variant for variant in self.variants if variant.steps == least)

    def audit(self) -> list[Row]:
        """Rank correlation of finite differences with gradient products, by relative step; some targets and tracks."""
        context, variant = self.context, self.choose_audited_variant()
        rows = spread_evenly(len(self.items), AUDIT_TRACKS)
        targets = spread_evenly(len(self.targets), AUDITED)
        section, fast = self.scorer.make_section(variant), self.scorer.compute_scores()[variant]
        key = fingerprint(self.scorer.key, variant.name, AUDIT_TRACKS, RELATIVE_STEPS)

        def audit_target(number: int) -> None:
            def compute() -> Arrays:
                direction, own = self.scorer.load_direction(variant, number), fast[number, rows]
                arguments = (self.items[rows], direction, own, section, context.bank, RELATIVE_STEPS)
                return {"rho": np.array(audit_clip(context.model, *arguments))}

            context.cache.ensure(Entry("self-audit", key, number), compute)

        missing = [q for q in targets if not context.cache.has(Entry("self-audit", key, q))]
        self.scorer.ensure_directions(missing)
        run_jobs("finite differences", missing, audit_target, self.scorer.workers, context.cache)
        rhos = [context.cache.read(Entry("self-audit", key, number))["rho"] for number in targets]
        return [
            {
                "layers": variant.layers,
                "mask": variant.mask,
                "relative_step": step,
                "rho": float(v.mean()),
                "least": float(v.min()),
            }
            for step, v in zip(RELATIVE_STEPS, np.array(rhos).T, strict=True)
        ]
