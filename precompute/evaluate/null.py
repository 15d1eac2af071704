"""Negative controls: what a method says where there is nothing to find, told as it comes out.

random weights: the shown clips against a transformer that has learnt nothing. roles swapped: two short trainings from
scratch, alike but for what they are trained on: the tracks, or the decoys. caption: every track scored under the
clip's caption in place of its own. AUC is always the probability that a *track of the manifest* stands above a decoy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute import quiet
from precompute import rows as results
from precompute.cache import Cache
from precompute.calibrate import area_under_curve, decoys_in_top
from precompute.clips import cohort_prompts
from precompute.config import RunConfig, fingerprint
from precompute.corpus import Track
from precompute.engine import preconditioner
from precompute.errors import UserError
from precompute.evaluate.audit import spearman
from precompute.evaluate.ranking import mean_wins, two_way_interval
from precompute.evaluate.result import Row, table, write_result
from precompute.evaluate.scoring import build_method, concatenated, contents, score_clips
from precompute.fisher import evenly
from precompute.model import Items, Model
from precompute.normalisation import Normalisation
from precompute.stages import generated, load_clips, load_cohort, load_corpus, load_latents, load_model
from precompute.train.diffusion import DiffusionLoss
from precompute.train.loop import LoopSettings, fit
from precompute.train.lora import digest

TOP = 10
LEARNING_RATE = 8e-4  # of the two short trainings: the demo model's
WARMUP_STEPS = 200
OPPOSITE = "opposite sides of 0.5"
COLUMNS = ("control", "case", "score", "name", "value", "low", "high", "wanted")


def evaluate_null(
    config: RunConfig,
    out: Path,
    method_name: str = "unlearning",
    swap_steps: int = 800,
    captions: int = 2,
    seed: int = 0,
    bf16: bool = True,
) -> dict[str, Any]:
    """Run the three controls, print a table, write JSON to `out`; what was written. Resumable.

    `swap_steps`: of each short training, 0 = leave out; `captions`: clips under whose caption all tracks are scored,
    0 = leave out; `bf16`: autocast in training. Raises UserError without decoys: there is nothing to tell tracks from.
    """
    if swap_steps < 0 or captions < 0:
        raise UserError("evaluate null: swap_steps and captions must be 0 (leave out) or more")
    corpus, model = load_corpus(config), load_model(config)
    if all(not track.is_decoy for track in corpus.tracks):
        raise UserError("evaluate null: the corpus has no decoys, and without them no control can be read")
    cache = Cache(Path(config.output.work) / "cache")
    items, key = load_latents(model, corpus, config, cache)
    run = _Run(config, cache, model, method_name, corpus.tracks, items, key)
    clips, cohort = load_clips(model, config, cache)[1], load_cohort(model, corpus, config, cache)
    rows = random_weights(run, clips, cohort, seed)
    if swap_steps:
        rows += roles_swapped(run, _settings(swap_steps, seed, bf16), Path(config.output.work) / "null")
    if captions:
        rows += under_the_clips_caption(run, clips, cohort, captions)
    print(table(rows, COLUMNS), flush=True)
    return write_result(
        out,
        f"negative controls of {method_name}",
        "python -m precompute evaluate null",
        str(model.device),
        rows,
        settings={"swap_steps": swap_steps, "captions": captions, "seed": seed, "bank": vars(config.bank)},
        model_sha256=model.sha256,
    )


@dataclass(frozen=True)
class _Run:
    """What the controls share."""

    config: RunConfig
    cache: Cache
    model: Model
    method_name: str
    tracks: Sequence[Track]
    items: Items  # [N], of `tracks`
    key: str  # names items and model by content


# -- the controls ------------------------------------------------------------------------------------------------


def random_weights(run: _Run, clips: Items, cohort: Items, seed: int) -> list[Row]:
    """The trained model's clips, cohort and latents against a transformer as it is before any training.

    The same pipeline, Fisher included, with the reduced settings of `[diagnostics]`. stable-audio-tools starts the
    branches' output layers at zero, so most weights have no gradient here: that is what an untrained model is.
    """
    print("control: random weights", flush=True)
    config = run.config.diagnostics.reduced(run.config)
    cohort = cohort[evenly(len(cohort), config.clips.cohort)]
    untrained = fresh_model(run.config, run.model, seed)
    trained = [row for row, track in enumerate(run.tracks) if not track.is_decoy]
    key = fingerprint(run.key, untrained.sha256)
    inverse_fisher = preconditioner(untrained, run.items[trained], config, run.cache, key)
    method = build_method(run.method_name, config, len(trained))
    scores = score_clips(untrained, method, clips, cohort, run.items, inverse_fisher, config, run.cache)
    found = results.calibrated(scores.cells, scores.cohort, run.tracks)
    silent = nothing_above_noise(found.above_noise, np.array([not t.is_decoy for t in run.tracks]))
    meaning = "share of clips with no training track above noise"
    rows = [_row("random weights", "", "", "nothing_above_noise", silent, ">= 0.95", meaning)]
    for kind, values in (("raw", found.score), ("normalised", found.score_norm)):
        rows += separation_rows("random weights", "", kind, values, run.tracks, wanted="0.5")
    return rows


def roles_swapped(run: _Run, settings: LoopSettings, folder: Path) -> list[Row]:
    """Two trainings alike but for the data: regular training tracks, or the decoys in their place.

    Same fresh weights, steps, seeds and number of tracks; planted tracks, which have no decoys, are left out. Each
    makes its own shown clips and cohort (captions of what it was trained on), scored with the reduced settings of
    `[diagnostics]`.
    """
    config = run.config.diagnostics.reduced(run.config)
    chosen = matched_numbers(run.tracks)
    items, tracks = run.items[chosen], [run.tracks[row] for row in chosen]
    is_train, is_decoy, _ = results.masks(tracks)
    rows, won = [], {}
    for case, played in (("tracks", tracks), ("decoys", [_swapped(track) for track in tracks])):
        print(f"control: roles swapped, trained on {case}", flush=True)
        taught = items[[row for row, track in enumerate(played) if not track.is_decoy]]
        model = train_from_scratch(run, taught, settings, folder, case)
        prompts, clips = load_clips(model, config, run.cache)
        longest = model.sample_size / model.sample_rate
        usual = cohort_prompts(played, prompts, config.clips.cohort, longest)
        cohort = generated(model, usual, config, run.cache, "cohort clips")
        inverse_fisher = preconditioner(model, taught, config, run.cache, fingerprint(contents(taught), model.sha256))
        method = build_method(run.method_name, config, len(taught))
        scores = score_clips(model, method, clips, cohort, items, inverse_fisher, config, run.cache)
        norm = Normalisation.fit(scores.cohort, *results.masks(played)[:2])(scores.score)
        for kind, values in (("raw", scores.score), ("normalised", norm)):
            rows += separation_rows("roles swapped", f"trained on {case}", kind, values, tracks, OPPOSITE)
            won[case, kind] = mean_wins(values, is_train, is_decoy)
    for kind in ("raw", "normalised"):
        of_tracks, of_decoys = won["tracks", kind], won["decoys", kind]
        change, turned = of_tracks - of_decoys, reverses(of_tracks.mean(), of_decoys.mean())
        meaning = "AUC of the training on tracks minus AUC of the training on decoys"
        interval = two_way_interval(change)
        rows.append(_row("roles swapped", "both", kind, "auc_difference", change.mean(), "not 0", meaning, interval))
        rows.append(_row("roles swapped", "both", kind, "reverses", turned, "1", "1 = AUCs on opposite sides of 0.5"))
    return rows


def under_the_clips_caption(run: _Run, clips: Items, cohort: Items, count: int) -> list[Row]:
    """All tracks under the caption of a clip, beside the ordinary ranking of the same draws; `count` clips, spread.

    Raw scores are the plain comparison. For the normalised ones a track's usual score is taken under the clip's
    caption too, so that both sides of the comparison are normalised alike. One pass holds every (track, caption), with
    the reduced settings of `[diagnostics]`.
    """
    print("control: every track under the clip's caption", flush=True)
    config = run.config.diagnostics.reduced(run.config)
    chosen = clips[evenly(len(clips), count)]
    usual = cohort[evenly(len(cohort), config.clips.cohort)]
    versions = [run.items] + [recaptioned(run.items, chosen, q) for q in range(len(chosen))]
    trained = [row for row, track in enumerate(run.tracks) if not track.is_decoy]
    inverse_fisher = preconditioner(run.model, run.items[trained], run.config, run.cache, run.key)
    method = build_method(run.method_name, config, len(trained))
    scores = score_clips(run.model, method, chosen, usual, concatenated(versions), inverse_fisher, config, run.cache)
    tracks, (is_train, is_decoy, _) = len(run.items), results.masks(run.tracks)
    blocks = [slice(k * tracks, (k + 1) * tracks) for k in range(len(versions))]
    kinds: dict[str, list[np.ndarray]] = {"raw": [], "normalised": []}  # own caption first; [Q, N] each
    for block in blocks:
        raw = scores.score[:, block]
        kinds["raw"].append(raw)
        kinds["normalised"].append(Normalisation.fit(scores.cohort[:, block], is_train, is_decoy)(raw))
    rows = []
    for kind, (own, *others) in kinds.items():
        changed = np.stack([values[q] for q, values in enumerate(others)])  # clip q under the caption of clip q
        kept = float(np.mean([spearman(*pair) for pair in zip(own[:, trained], changed[:, trained], strict=True)]))
        meaning = "Spearman correlation over training tracks of the ranking with the ordinary one, mean over clips"
        rows.append(_row("caption", "the clip's", kind, "correlation_with_ordinary", kept, "", meaning))
        for case, values in (("own", own), ("the clip's", changed)):
            rows += separation_rows("caption", case, kind, values, run.tracks, wanted="")
    return rows


# -- statistics --------------------------------------------------------------------------------------------------


def nothing_above_noise(above: np.ndarray, trained: np.ndarray) -> float:
    """Share of clips in which no training track is above noise; bool [Q, N], bool [N]."""
    return float((~above[:, trained].any(1)).mean())


def reverses(one: float, other: float) -> bool:
    """Whether two AUCs lie on opposite sides of chance."""
    return (one - 0.5) * (other - 0.5) < 0


def separation_rows(
    control: str, case: str, kind: str, scores: np.ndarray, tracks: Sequence[Track], wanted: str
) -> list[Row]:
    """AUC with an interval over tracks and decoys, then decoys in the top 10, of scores [Q, N]."""
    is_train, is_decoy, _ = results.masks(tracks)
    area = area_under_curve(scores, is_train, is_decoy)
    interval = two_way_interval(mean_wins(scores, is_train, is_decoy))
    share = decoys_in_top(scores, is_train, is_decoy, TOP)
    chance = float(is_decoy.sum() / (is_train.sum() + is_decoy.sum()))
    return [
        _row(control, case, kind, "auc", area, wanted, "probability that a track outranks a decoy", interval),
        _row(control, case, kind, "decoys_top10", share, "", f"share of decoys in the top 10; by chance {chance:.2f}"),
    ]


def _row(
    control: str,
    case: str,
    score: str,
    name: str,
    value: float,
    wanted: str,
    meaning: str,
    interval: tuple[float, float] | None = None,
) -> Row:
    row: Row = {"control": control, "case": case, "score": score, "name": name, "value": float(value)}
    if interval is not None:
        row |= {"low": interval[0], "high": interval[1]}
    return {**row, "wanted": wanted, "meaning": meaning}


# -- models and items --------------------------------------------------------------------------------------------


def fresh_model(config: RunConfig, like: Model, seed: int) -> Model:
    """Transformer and conditioner as they start, by a seed; autoencoder and CLAP of `like`."""
    settings = json.loads(Path(config.model.config).read_text())
    with torch.random.fork_rng():  # other seeds are not disturbed
        torch.manual_seed(seed)
        network = quiet.create_network(settings)
    network.pretransform.model.load_state_dict(like.network.pretransform.model.state_dict())
    return _named(Model(network.to(like.device), settings, like.clap, sha256=""), like)


def matched_numbers(tracks: Sequence[Track]) -> list[int]:
    """Rows of as many regular training tracks as regular decoys, in order; the more numerous are thinned evenly."""
    is_train, is_decoy, _ = results.masks(tracks)
    kinds = [np.flatnonzero(mask) for mask in (is_train, is_decoy)]
    count = min(map(len, kinds))
    return sorted(int(kind[row]) for kind in kinds for row in evenly(len(kind), count))


def _swapped(track: Track) -> Track:
    return replace(track, split="train" if track.is_decoy else "decoy")


def _settings(steps: int, seed: int, bf16: bool) -> LoopSettings:
    warmup = min(WARMUP_STEPS, steps // 4)
    return LoopSettings(steps=steps, learning_rate=LEARNING_RATE, warmup_steps=warmup, bf16=bf16, seed=seed)


def train_from_scratch(run: _Run, items: Items, settings: LoopSettings, folder: Path, name: str) -> Model:
    """A fresh model trained on items [N]; its state is kept in a folder of its own for these settings and data."""
    model = fresh_model(run.config, run.model, settings.seed)
    model.network.model.requires_grad_(True)
    model.network.conditioner.requires_grad_(True)
    folder = folder / fingerprint(run.model.inputs_sha256, contents(items), settings)
    fit(name, model.network, DiffusionLoss(model.network, model, items, settings.batch), settings, folder)
    model.network.requires_grad_(False)
    return _named(model, run.model)


def recaptioned(items: Items, clips: Items, row: int) -> Items:
    """The same latents and lengths under the prompt of one clip."""
    one = clips.embeddings
    embeddings = None if one is None else one[row].expand(len(items), -1).contiguous()
    return replace(items, prompts=(clips.prompts[row],) * len(items), embeddings=embeddings)


def _named(model: Model, like: Model) -> Model:
    """Hashes of the weights in the model, so that no cache takes its results for another's."""
    model.sha256 = digest(model.network.state_dict())
    model.inputs_sha256 = fingerprint(model.sha256, like.inputs_sha256)
    return model
