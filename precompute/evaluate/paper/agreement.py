"""Agreement of all methods of a run, on clips of the longest length, beside what tells which to trust.

For every pair of methods how far they agree; for every method how it spreads its score, how alike its rankings of
different clips are, how many tracks that were never heard it puts on top, and whether it finds planted truths. Raw and
normalised scores both: published figures are of raw ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from precompute.clips.generation import generate_clips
from precompute.clips.prompts import Prompt, read_prompts
from precompute.common import seeds
from precompute.common.cache import Cache
from precompute.common.results import Row, describe_hardware, format_table, write_result
from precompute.config.run import NO_WINDOWS_S, RunConfig, fingerprint
from precompute.corpus.intake import load_corpus
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.evaluate.planted.truths import TwinPair, find_pairs
from precompute.methods.catalogue import CATALOGUE
from precompute.methods.run import MethodRun, run_methods
from precompute.model.diffusion import load_model
from precompute.pipeline import make_context
from precompute.significance.agreement import measure_agreement
from precompute.significance.diagnostics import compute_auc, measure_decoy_share, measure_top_share
from precompute.significance.normalisation import Normalisation
from precompute.significance.ranks import correlate_clips
from precompute.significance.verdicts import assign_roles

PAPER = {"lpips": 0.56, "clap": 0.46, "clews": 0.32, "rps": 0.11}  # Pearson with unlearning, arXiv 2506.18312
BASE = "unlearning"  # the method whose agreement with others the paper gives
KINDS = {"raw": "raw", "normalised": "norm"}  # kinds of scores -> their suffix in columns
CONCENTRATION = ("gini", "effective_tracks", "share_top1", "share_top10", "share_top100", "between_clips")
TOP = 10  # training tracks among which a weighted one is looked for
BOTH = (
    "decoys_top10",
    "decoys_top40",
    "auc",
    "weighted_above_twin",
    f"weighted_top{TOP}",
)  # of raw and normalised scores
PAIR_COLUMNS = (
    *("method", "other", "pearson_raw", "paper", "spearman_raw", "top10_raw", "top100_raw"),
    *("pearson_norm", "spearman_norm", "top10_norm", "top100_norm"),
)
MATRIX = ("first_singular", "effective_rank", "track_part")  # what the matrix of scores is made of
METHOD_COLUMNS = (
    *("method", "pearson_raw", "paper", "spearman_raw", "top10_raw", "top100_raw"),  # with unlearning
    *(f"{name}_raw" for name in (*CONCENTRATION, *MATRIX)),
    *(f"{name}_{kind}" for name in BOTH for kind in KINDS.values()),
    "cost_s",
)


def evaluate_agreement(
    config: RunConfig, out: Path, clips: int = 16, methods: Sequence[str] = (), picture: Path | None = None
) -> dict[str, Any]:
    """Score `clips` clips of the model's full length by `methods` (none = those of the config); prints the tables.

    Writes JSON to `out` and a heat map to `picture`; returns what was written. Raises UserError for an unknown method,
    or fewer than 2 clips.
    """
    unknown = [name for name in methods if name not in CATALOGUE]
    if unknown:
        raise UserError(f"--method {unknown[0]}: unknown; known are {', '.join(CATALOGUE)}")
    if clips < 2:
        raise UserError(f"--clips {clips}: must be at least 2")
    if methods:
        config = replace(config, methods=replace(config.methods, run=tuple(methods)))
    config = replace(
        config,
        clips=replace(config.clips, targets=0),
        moments=replace(config.moments, tracks=0),
        unlearning=replace(config.unlearning, window_s=NO_WINDOWS_S),
    )
    corpus, model = load_corpus(config), load_model(config)
    cache = Cache(Path(config.output.work) / "cache")
    context, _ = make_context(model, corpus, config, cache)
    prompts = make_long_prompts(read_prompts(Path(config.clips.prompts)), clips, model.sample_size / model.sample_rate)
    shown = generate_clips(model, prompts, config, cache, "clips of full length")
    key = fingerprint(context.track_key, [(p.text, p.seconds, p.seed) for p in prompts], config.clips, "agreement")
    context = replace(context, queries=replace(context.queries, shown=shown), key=key, memo={})
    outcome = run_methods(context, config.methods.run)
    texts = [prompt.text for prompt in prompts]
    pairs, single = tabulate_agreement(outcome.completed, corpus.tracks, texts)
    print(f"agreement with {BASE}, spread, decoys and planted truths of every method", flush=True)
    print(format_table(summarise(single, pairs), METHOD_COLUMNS), flush=True)
    print("agreement of all pairs", flush=True)
    print(format_table(merge_kinds(pairs), PAIR_COLUMNS), flush=True)
    if picture is not None:
        draw_heat_map(
            pairs,
            [done.method.label for done in outcome.completed],
            [done.method.name for done in outcome.completed],
            picture,
        )
    return write_result(
        out,
        f"agreement of methods on {clips} clips of full length; each method's spread, decoys and planted truths",
        "python -m precompute evaluate agreement",
        describe_hardware(str(model.device)),
        single + pairs,
        table=summarise(single, pairs),
        decoys_chance=_compute_chance(corpus.tracks),
        weighted_clips=len(find_asked_pairs(corpus.tracks, texts)),
        skipped=[{"method": name, "reason": reason} for name, _, reason in outcome.skipped],
        model_sha256=model.sha256,
    )


def make_long_prompts(prompts: Sequence[Prompt], count: int, seconds: float) -> list[Prompt]:
    """`count` clips of `seconds`: the run's prompts in turn, with seeds of their own."""
    return [
        replace(prompts[i % len(prompts)], clip_id=i + 1, seconds=seconds, seed=seeds.AGREEMENT + i)
        for i in range(count)
    ]


def tabulate_agreement(
    done: Sequence[MethodRun], tracks: Sequence[Track], texts: Sequence[str]
) -> tuple[list[Row], list[Row]]:
    """Rows of pairs of methods, and rows of single methods; agreement is measured over training tracks alone.

    `texts`: the clips' prompts, which say which weighted track a clip asks for.
    """
    trained = assign_roles(tracks).trained
    kinds: dict[str, dict[str, np.ndarray]] = {}
    for one in done:
        raw = one.result.score
        norm = Normalisation.fit(one.result.cohort).apply(raw)
        kinds[one.method.name] = {"raw": raw, "normalised": norm}
    pairs: list[Row] = []
    names = list(kinds)
    for kind in ("raw", "normalised"):
        for a, name in enumerate(names):
            for other in names[a + 1 :]:
                agreement = measure_agreement(kinds[name][kind][:, trained], kinds[other][kind][:, trained])
                row: Row = {"method": name, "other": other, "score": kind, **agreement}
                if name == BASE and other in PAPER and kind == "raw":
                    row["paper"] = PAPER[other]
                pairs.append(row)
    single = [
        {"method": one.method.name, "score": kind, **measure_method(scores, tracks, texts), "cost_s": one.cost_s}
        for one in done
        for kind, scores in kinds[one.method.name].items()
    ]
    return pairs, single


def merge_kinds(rows: Sequence[Row]) -> list[Row]:
    """Rows of raw and of normalised scores joined, with columns NAME_raw and NAME_norm."""
    joined: dict[tuple[str, str], Row] = {}
    for row in rows:
        names = {name: row[name] for name in ("method", "other", "paper", "cost_s") if name in row}
        one = joined.setdefault((row["method"], row.get("other", "")), {})
        one |= names | {f"{n}_{KINDS[row['score']]}": v for n, v in row.items() if n not in {*names, "score"}}
    return list(joined.values())


def summarise(single: Sequence[Row], pairs: Sequence[Row]) -> list[Row]:
    """The table by method: a row each, with its agreement with unlearning where that ran."""
    with_base = {}
    for pair_row in merge_kinds(pairs):
        if BASE in (pair_row["method"], pair_row["other"]):
            other = pair_row["other"] if pair_row["method"] == BASE else pair_row["method"]
            with_base[other] = {name: v for name, v in pair_row.items() if name not in ("method", "other")}
    return [row | with_base.get(row["method"], {}) for row in merge_kinds(single)]


def measure_method(scores: np.ndarray, tracks: Sequence[Track], texts: Sequence[str]) -> dict[str, float]:
    """Measures of one method's scores [Q, N]: concentration, likeness between clips, decoys on top, planted truths.

    Planted truths are looked for in the clips of their own prompt alone: whether the weighted track is above its twin,
    and whether it is among the ten strongest training tracks.
    """
    is_train, is_decoy, trained = assign_roles(tracks)[:3]
    own = scores[:, trained]
    values = {"gini": compute_gini(own), "effective_tracks": count_effective_tracks(own)}
    values |= {f"share_top{top}": measure_top_share(own, top) for top in (1, 10, 100)}
    values["between_clips"] = correlate_clips(own)
    values |= describe_matrix(own)
    if is_decoy.any():
        values |= {f"decoys_top{n}": measure_decoy_share(scores, is_train, is_decoy, n) for n in (10, 40)}
        values["auc"] = compute_auc(scores, is_train, is_decoy)
    asked = find_asked_pairs(tracks, texts)
    if asked:
        values["weighted_above_twin"] = float(
            np.mean([scores[q, one.weighted] > scores[q, one.twin] for q, one in asked])
        )
        places = np.array([(own[q] > scores[q, one.weighted]).sum() for q, one in asked])
        values[f"weighted_top{TOP}"] = float(np.mean(places < TOP))
    return values


def describe_matrix(scores: np.ndarray) -> dict[str, float]:
    """What the matrix of scores [Q, N] is made of, each clip's row centred and of length 1 (after arXiv 2605.16181).

    `first_singular`: part of the squared singular values that the first has; `effective_rank`: exp of the entropy of
    those parts, from 1 (all clips have one ranking) to Q; `track_part`: part of the variance that is the tracks' means
    over clips, which is 1/Q for rankings that have nothing in common.
    """
    rows = scores - scores.mean(1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths > 0, lengths, 1)
    parts = np.square(np.linalg.svd(rows, compute_uv=False))
    total = parts.sum()
    if total == 0:
        return {"first_singular": 0.0, "effective_rank": 0.0, "track_part": 0.0}
    parts = parts / total
    entropy = -(parts * np.log(np.where(parts > 0, parts, 1))).sum()
    track_part = float(np.square(rows.mean(0)).sum() * len(rows) / total)
    return {"first_singular": float(parts[0]), "effective_rank": float(np.exp(entropy)), "track_part": track_part}


def find_asked_pairs(tracks: Sequence[Track], texts: Sequence[str]) -> list[tuple[int, TwinPair]]:
    """(row of the clip, pair) wherever a clip's prompt is the caption of a weighted track."""
    pairs = find_pairs(tracks)
    return [(q, pair) for pair in pairs for q, text in enumerate(texts) if text == tracks[pair.weighted].caption]


def _compute_chance(tracks: Sequence[Track]) -> float:
    """Share of decoys among the regular tracks, as a method blind to them would put on top."""
    is_train, is_decoy = assign_roles(tracks)[:2]
    return float(is_decoy.sum() / max(1, (is_train | is_decoy).sum()))


def compute_gini(scores: np.ndarray) -> float:
    """Gini coefficient of the positive score, mean over clips: 0 = all tracks alike, 1 = one has all."""
    values = np.sort(np.clip(scores, 0, None), axis=1)
    count, totals = values.shape[1], values.sum(1)
    positive = totals > 0
    weights = 2 * np.arange(1, count + 1) - count - 1
    return float(((values[positive] * weights).sum(1) / (count * totals[positive])).mean()) if positive.any() else 0.0


def count_effective_tracks(scores: np.ndarray) -> float:
    """Effective number of tracks: exp of the entropy of their shares of the positive score, mean over clips."""
    values = np.clip(scores, 0, None)
    totals = values.sum(1, keepdims=True)
    shares = (values / np.where(totals > 0, totals, 1))[totals[:, 0] > 0]
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1)
    return float(np.exp(entropy).mean()) if len(shares) else 0.0


def draw_heat_map(pairs: Sequence[Row], labels: Sequence[str], names: Sequence[str], path: Path) -> None:
    """Draw a heat map: Spearman of normalised scores above the diagonal, Pearson of raw ones below."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        print("  no picture: matplotlib is not installed (pip install 'whence[dev]')", flush=True)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image  # matplotlib brings it

    place = {name: number for number, name in enumerate(names)}
    values = np.eye(len(names))
    for row in pairs:
        a, b = sorted((place[row["method"]], place[row["other"]]))
        if row["score"] == "normalised":
            values[a, b] = row["spearman"]
        else:
            values[b, a] = row["pearson"]
    figure, axes = pyplot.subplots(figsize=(2 + 0.6 * len(names), 1.5 + 0.6 * len(names)))
    image = axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    for (y, x), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_title("Agreement: Spearman of normalised scores (above), Pearson of raw scores (below)", fontsize=9)
    figure.colorbar(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", dpi=80)
    pyplot.close(figure)
    with Image.open(path) as drawn:  # flat colours: a palette takes a quarter of the bytes
        small = drawn.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
