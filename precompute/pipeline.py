"""The table of contents: corpus -> latents -> clips -> methods -> moments -> published store."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from explorer.store import SCHEMA_VERSION
from precompute.clips.audio_files import write_audio
from precompute.clips.generation import load_clips, load_cohort
from precompute.clips.prompts import Prompt, choose_targets
from precompute.common.cache import Cache
from precompute.common.progress import format_duration, progress
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.audio import Analysis, analyse
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents
from precompute.gradients.context import Context, Queries, make_noise_bank
from precompute.gradients.finite_difference import audit_clip
from precompute.methods.run import MethodRun, compute_moments, run_methods
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import Items, Model, load_model
from precompute.resemblance.tables import ComparedClips, choose_pairs, tabulate_resemblance
from precompute.significance.diagnostics import diagnose
from precompute.significance.verdicts import Verdicts, calibrate_scores, fit_normalisation, mask_tracks
from precompute.store import record
from precompute.store import tables as rows
from precompute.store.publication import Columns, StoreContents, merged, publish, relative_path, relative_root

TARGET_CLIP_ID = 1000  # clips of kind 'track' count up from here
NO_DECOYS = "No decoys were scored, so no score can be told from noise."


def run(config: RunConfig, audit: bool = False) -> Path:
    """Do what is not yet done, publish the store, and return its path."""
    began, started = time.monotonic(), datetime.now(timezone.utc)
    cache = Cache(Path(config.output.work) / "cache")
    print("corpus", flush=True)
    corpus = load_corpus(config)
    model = load_model(config)
    decoys = len(corpus.tracks) - len(corpus.trained)
    print(f"  {len(corpus.trained)} training tracks, {decoys} decoys; model {model.sha256[:12]}", flush=True)
    note = config.output.note
    if not decoys:
        note = f"{note} {NO_DECOYS}".strip()
        print(f"  {NO_DECOYS}", flush=True)
    context, prompts = make_context(model, corpus, config, cache)
    outcome = run_methods(context, config.methods.run)
    generated = len(prompts)
    clip_ids = [p.clip_id for p in prompts] + [TARGET_CLIP_ID + i for i in range(len(context.target_rows))]
    masks = mask_tracks(corpus.tracks)
    normalisations = [fit_normalisation(done.result.cohort, masks) for done in outcome.completed]
    verdicts = [
        calibrate_scores(done.result.cells, normalisation, masks)
        for done, normalisation in zip(outcome.completed, normalisations, strict=True)
    ]
    tables = [
        _tables_of(done, one, context, clip_ids, generated)
        for done, one in zip(outcome.completed, verdicts, strict=True)
    ]
    if audit:
        _audit(context, outcome.completed, prompts)
    diagnostics = [*(t["diagnostics"] for t in tables), *_earlier(outcome.completed, corpus, generated, config, cache)]
    diagnostics.sort(key=lambda table: (table["checkpoint_step"][0], table["method_id"][0]))
    _tell(diagnostics, outcome.completed)

    store = Path(config.output.store)
    clip_folder = Path(config.output.clips)
    clip_paths = write_audio(model, context.queries.shown, prompts, clip_folder, config.output.clip_format)
    analyses = _analyses(corpus)
    own_paths = [p.path for p in prompts] + [corpus.tracks[row].path for row in context.target_rows]
    sounds = [context.queries.shown, context.queries.targets]
    near = choose_pairs([one.train_rank for one in verdicts])
    aspects, passages = tabulate_resemblance(
        model, corpus, context.items, ComparedClips(sounds, clip_ids, own_paths), near, cache
    )
    contents = StoreContents(
        store_info={
            "version": [SCHEMA_VERSION],
            "track_root": [relative_root(corpus.root, store)],
            "clip_root": [relative_root(clip_folder, store)],
            "note": [note or None],
        },
        runs=record.run_columns(config, model, started, time.monotonic() - began),
        tracks=rows.track_columns(corpus.tracks, analyses, _audio_paths(corpus)),
        holders=rows.holder_columns(corpus.tracks),
        clips=record.clip_columns(
            prompts,
            context.queries.shown,
            clip_paths,
            clip_ids,
            context.target_rows,
            corpus,
            analyses,
            clip_folder,
        ),
        methods=merged([record.method_columns(done, config) for done in outcome.completed]),
        skipped_methods={
            name: [row[place] for row in outcome.skipped] for place, name in enumerate(("name", "label", "reason"))
        },
        scores=merged([t["scores"] for t in tables]),
        score_parts=merged([t["score_parts"] for t in tables]),
        moments=merged([t["moments"] for t in tables]),
        clip_moments=merged([t["clip_moments"] for t in tables]),
        diagnostics=merged(diagnostics),
        agreement=rows.agreement_columns(
            [done.method_id for done in outcome.completed],
            # of generated clips alone: in a slice of all verdicts the last bits of a product may differ
            [
                normalisation.apply(done.result.score[:generated])[:, masks.trained]
                for done, normalisation in zip(outcome.completed, normalisations, strict=True)
            ],
        ),
        aspects=aspects,
        passages=passages,
        evaluations=record.kept_evaluations(Path(config.output.evaluations), model.sha256),
    )
    publish(contents, store)
    print(f"published {store} in {format_duration(time.monotonic() - began)}", flush=True)
    return store


def make_context(
    model: Model, corpus: Corpus, config: RunConfig, cache: Cache, loaded: tuple[Items, str] | None = None
) -> tuple[Context, list[Prompt]]:
    """What the methods of a run look at, clips and cohort made; and the prompts of the clips that are shown.

    `loaded`: what `load_latents` gave, where that is known."""
    items, key = loaded or load_latents(model, corpus, config, cache)
    prompts, clips = load_clips(model, config, cache)
    cohort = load_cohort(model, corpus, config, cache)
    row_of = {track.track_id: row for row, track in enumerate(corpus.tracks)}
    target_rows = np.array([row_of[t.track_id] for t in choose_targets(corpus.tracks, config.clips.targets)], dtype=int)
    context = Context(
        model=model,
        tracks=corpus.tracks,
        items=items,
        queries=Queries(shown=clips, targets=items[target_rows.tolist()], cohort=cohort),
        target_rows=target_rows,
        bank=make_noise_bank(config.bank),
        config=config,
        cache=cache,
        key=fingerprint(key, [p.key for p in prompts], config.clips),
        track_key=key,
    )
    return context, prompts


def _tables_of(
    done: MethodRun, verdicts: Verdicts, context: Context, clip_ids: list[int], generated: int
) -> dict[str, Columns]:
    """All tables that hold one method's results."""
    result, tracks, config, frame_rate = done.result, context.tracks, context.config, context.model.frame_rate
    rises = {}
    if done.method.has_moments:
        pairs = _moment_pairs(verdicts, generated, config.moments.tracks)
        rises = compute_moments(context, done.method, pairs)
    valid, least = context.items.valid_frames.numpy(), config.moments.rate_hz
    window_s = max(1, round(config.unlearning.window_s * frame_rate)) / frame_rate
    windows: Columns = {}
    if result.windows is not None:
        windows = rows.clip_moment_columns(result.windows, clip_ids[:generated], tracks, window_s, done.method_id)
    report = [*diagnose(verdicts, context.target_rows, tracks, generated), *result.remarks]
    return {
        "scores": rows.score_columns(verdicts, clip_ids, tracks, done.method_id),
        "score_parts": rows.part_columns(result.cells, verdicts, clip_ids, tracks, done.method_id, config.bank.t_low),
        "moments": rows.moment_columns(rises, clip_ids, tracks, valid, frame_rate, least, done.method_id),
        "clip_moments": windows,
        "diagnostics": record.diagnostic_columns(done.method_id, config.diagnostics.final_step, report),
    }


def _moment_pairs(verdicts: Verdicts, generated: int, tracks: int) -> list[tuple[int, int]]:
    """(clip, track) rows whose moments are computed: the best-ranked training tracks of each generated clip."""
    chosen = verdicts.train_rank[:generated]
    return [(int(q), int(i)) for q, i in zip(*np.nonzero((chosen > 0) & (chosen <= tracks)), strict=True)]


def _audit(context: Context, done: list[MethodRun], prompts: list[Prompt]) -> None:
    """Compare the first clip's scores by unlearning with finite differences over every track; print rho."""
    for one in done:
        if not isinstance(one.method, Unlearning):
            continue
        direction, scores = one.method.step.share_directions(context).average_halves(0), one.result.score[0]
        rhos = audit_clip(context.model, context.items, direction, scores, context.config.unlearning, context.bank)
        print(
            f"audit, clip {prompts[0].clip_id}, {len(context.items)} tracks: "
            f"rho {rhos[0]:.4f} (step 1e-5), {rhos[1]:.4f} (1e-4)"
        )


def _earlier(done: list[MethodRun], corpus: Corpus, generated: int, config: RunConfig, cache: Cache) -> list[Columns]:
    """Diagnostics of unlearning at the checkpoints kept along the training."""
    folder = Path(config.diagnostics.checkpoints)
    paths = sorted(folder.glob("step-*/model.safetensors")) if config.diagnostics.checkpoints else []
    reduced = config.diagnostics.reduced(config)
    if config.diagnostics.checkpoints and not paths:
        print(f"  {folder}: no checkpoints here; diagnostics for the shipped weights alone", flush=True)
    found = []
    for one in done:
        for path in paths if isinstance(one.method, Unlearning) else []:
            step = int(path.parent.name.removeprefix("step-"))
            if step == config.diagnostics.final_step:
                continue
            print(f"diagnostics at training step {step}", flush=True)
            context, _ = make_context(load_model(config, path), corpus, reduced, cache)
            result = run_methods(context, [one.method.name]).completed[0].result
            masks = mask_tracks(corpus.tracks)
            early = calibrate_scores(result.cells, fit_normalisation(result.cohort, masks), masks)
            report = diagnose(early, context.target_rows, corpus.tracks, generated)
            found.append(record.diagnostic_columns(one.method_id, step, report))
    return found


def _tell(diagnostics: list[Columns], done: list[MethodRun]) -> None:
    """Print them, a line for each method and training step."""
    names = {one.method_id: one.method.name for one in done}
    for table in diagnostics:
        values = ", ".join(f"{name} {value:.3g}" for name, value in zip(table["name"], table["value"], strict=True))
        print(f"{names[table['method_id'][0]]}, step {table['checkpoint_step'][0]}: {values}", flush=True)


def _analyses(corpus: Corpus) -> dict[int, Analysis]:
    """Loudness, peaks and hashes of all audio at hand."""
    found = {}
    for track in progress("loudness and peaks", [t for t in corpus.tracks if t.path]):
        found[track.track_id] = analyse(track.path)  # type: ignore[arg-type]
    return found


def _audio_paths(corpus: Corpus) -> dict[int, str]:
    return {t.track_id: relative_path(t.path, corpus.root) for t in corpus.tracks if t.path}
