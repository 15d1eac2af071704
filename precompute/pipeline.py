"""One run: corpus -> latents -> clips -> methods -> moments -> resemblance -> published store.

Where `[exemplars]` names an update, clips of the tuned model go the same way in a pass of their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from explorer.store import SCHEMA_VERSION
from precompute.clips.audio_files import write_audio
from precompute.clips.generation import generate_clips, load_clips, load_cohort
from precompute.clips.prompts import Prompt, choose_targets
from precompute.common.cache import Cache
from precompute.common.locks import lock_work
from precompute.common.progress import format_duration, progress
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.audio import Analysis, analyse
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.exemplars.low_rank import apply_update
from precompute.exemplars.tuned_pass import RUN_ID, TunedPass, plan_tuned_pass
from precompute.gradients.context import Context, Queries, make_noise_bank
from precompute.gradients.finite_difference import audit_clip
from precompute.methods.run import MethodRun, compute_moments, run_methods
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import Items, Model, load_model
from precompute.resemblance.tables import ComparedClips, choose_pairs, tabulate_resemblance
from precompute.significance.diagnostics import diagnose
from precompute.significance.match_bins import match_clips
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import (
    ClipGroups,
    TrackRoles,
    Verdicts,
    assign_roles,
    calibrate_scores,
    measure_reliability,
)
from precompute.store import tables as store_tables
from precompute.store.evaluations import collect_evaluations
from precompute.store.publication import (
    Columns,
    StoreContents,
    make_relative_path,
    make_relative_root,
    publish_store,
    stack_tables,
)
from precompute.store.tables import ResultKeys

TARGET_CLIP_ID = 1000  # clips of kind 'track' count up from here
PAIR_TABLES = ("scores", "match_bins", "score_parts", "moments", "clip_moments")  # of one method each
SCORE_TABLES = (*PAIR_TABLES, "track_claims")
NO_DECOYS = "No decoys were scored, so no score can be told from noise."


@dataclass(frozen=True)
class StoredClips:
    """The clips whose scores are stored: generated ones and a user's own, then targets."""

    prompts: list[Prompt]  # of the clips that are shown
    targets: list[Track]  # training tracks that are unlearned themselves

    @property
    def ids(self) -> list[int]:
        """clip_id of each."""
        return [p.clip_id for p in self.prompts] + [TARGET_CLIP_ID + i for i in range(len(self.targets))]

    @property
    def paths(self) -> list[Path | None]:
        """Audio of each that is read from a file, None = decoded from its latents."""
        return [p.path for p in self.prompts] + [track.path for track in self.targets]


@dataclass(frozen=True)
class CalibratedRun:
    """A method's run, calibrated once for all that read it."""

    run: MethodRun
    normalisation: Normalisation
    verdicts: Verdicts
    reliability: float | None  # of its rankings of generated clips; None where nothing is drawn


def run(config: RunConfig, audit: bool = False) -> Path:
    """Do what is not yet done, publish the store, and return its path.

    Raises UserError, among others at once where another run or pass is at work in the same work folder.
    """
    with lock_work(Path(config.output.work)):
        return _run(config, audit)


def _run(config: RunConfig, audit: bool) -> Path:
    """Work of `run` while it has the work folder for itself."""
    began, started = time.monotonic(), datetime.now(timezone.utc)
    cache, store = Cache(Path(config.output.work) / "cache"), Path(config.output.store)
    print("corpus", flush=True)
    corpus, model = load_corpus(config), load_model(config)
    note = _describe_corpus(corpus, model, config.output.note)

    context, prompts = make_context(model, corpus, config, cache)  # latents, clips, cohort
    tuned = plan_tuned_pass(model, corpus, config, prompts)
    outcome = run_methods(context, config.methods.run)
    roles = assign_roles(corpus.tracks)
    groups = group_clips(context)
    runs = [calibrate_run(one, roles, groups) for one in outcome.completed]
    clips = StoredClips(prompts, [corpus.tracks[row] for row in context.target_rows])
    tables = [tabulate_results(one, context, clips) for one in runs]  # moments among them
    if audit:
        audit_scores(context, outcome.completed, prompts[0].clip_id)
    diagnostics = [table["diagnostics"] for table in tables]
    diagnostics += diagnose_checkpoints(outcome.completed, corpus, len(prompts), config, cache)
    diagnostics.sort(key=lambda table: (table["checkpoint_step"][0], table["method_id"][0]))
    _print_diagnostics(diagnostics, outcome.completed)

    clip_folder, shown = Path(config.output.clips), context.queries.shown
    clip_paths = write_audio(model, shown, prompts, clip_folder, config.output.clip_format)
    analyses = analyse_tracks(corpus)
    compared = ComparedClips([shown, context.queries.targets], clips.ids, clips.paths)
    near = choose_pairs([one.verdicts.train_rank for one in runs])
    aspects, passages = tabulate_resemblance(model, corpus, context.items, compared, near, cache)

    contents = StoreContents(
        store_info=_describe_store(store, corpus.root, clip_folder, choose_default(config, outcome.completed), note),
        runs=store_tables.tabulate_run(config, model, started, time.monotonic() - began),
        tracks=store_tables.tabulate_tracks(corpus.tracks, analyses, _list_audio_paths(corpus)),
        holders=store_tables.tabulate_holders(corpus.tracks),
        clips=tabulate_clips(clips, shown.seconds.tolist(), clip_paths, clip_folder, analyses),
        methods=stack_tables([store_tables.tabulate_method(one.run, config, one.reliability) for one in runs]),
        skipped_methods=store_tables.tabulate_skipped(outcome.skipped),
        diagnostics=stack_tables(diagnostics),
        agreement=compare_methods(runs, len(prompts), roles),
        aspects=aspects,
        passages=passages,
        evaluations=collect_evaluations(Path(config.output.evaluations), model.sha256),
        **{name: stack_tables([table[name] for table in tables]) for name in SCORE_TABLES},
    )
    if tuned is not None:
        contents = contents.add_rows(attribute_tuned_clips(tuned, context, outcome.completed))
    publish_store(contents, store)
    print(f"published {store} in {format_duration(time.monotonic() - began)}", flush=True)
    return store


def _describe_corpus(corpus: Corpus, model: Model, note: str) -> str:
    """Print how many tracks there are; the store's note, which says where there is no decoy."""
    decoys = len(corpus.tracks) - len(corpus.trained)
    print(f"  {len(corpus.trained)} training tracks, {decoys} decoys; model {model.sha256[:12]}", flush=True)
    if decoys:
        return note
    print(f"  {NO_DECOYS}", flush=True)
    return f"{note} {NO_DECOYS}".strip()


def choose_default(config: RunConfig, runs: list[MethodRun]) -> str:
    """Name of the method that the page opens with: the config's, or the first that ran where that could not run."""
    names = [one.method.name for one in runs]
    return config.methods.default if config.methods.default in names else names[0]


def _describe_store(store: Path, track_root: Path, clip_root: Path, default_method: str, note: str) -> Columns:
    """Table `store_info`; folders are relative to the store's."""
    return {
        "version": [SCHEMA_VERSION],
        "default_method": [default_method],
        "track_root": [make_relative_root(track_root, store)],
        "clip_root": [make_relative_root(clip_root, store)],
        "note": [note or None],
    }


def make_context(
    model: Model,
    corpus: Corpus,
    config: RunConfig,
    cache: Cache,
    loaded: tuple[Items, str] | None = None,
    prompts: list[Prompt] | None = None,
) -> tuple[Context, list[Prompt]]:
    """Make clips and cohort and whatever else the methods work on; also the prompts of the clips that are shown.

    `loaded`: what `load_latents` gave, where that is known. `prompts`: of clips to generate and show in place of the
    config's.
    """
    items, key = loaded or load_latents(model, corpus, config, cache)
    if prompts is None:
        prompts, clips = load_clips(model, config, cache)
    else:
        clips = generate_clips(model, prompts, config, cache, "clips")
    cohort = load_cohort(model, corpus, config, cache, [p for p in prompts if p.path is None])
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


def attribute_tuned_clips(tuned: TunedPass, main: Context, done: list[MethodRun]) -> dict[str, Columns]:
    """Rows of the tuned model's pass by table: `runs`, `clips`, what its clips' scores say, and resemblance.

    `main`: the main run's context, whose model has the tuned weights for as long as this takes; `done`: the methods of
    that run, of which the tuned clips get scores under the same ids. Claims about tracks stay those of the main run.
    """
    began, started = time.monotonic(), datetime.now(timezone.utc)
    model, corpus, config, cache = main.model, tuned.corpus, tuned.config, main.cache
    print(f"clips of the model tuned on exemplars {tuned.tuning.track_ids}", flush=True)
    with apply_update(model, tuned.tuning.update):
        context, runs = score_tuned_clips(tuned, main, done)
        prompts, clips = tuned.prompts, StoredClips(tuned.prompts, [])
        tables = [tabulate_results(one, context, clips) for one in runs]
        row = store_tables.tabulate_run(config, model, started, time.monotonic() - began, RUN_ID, tuned.note)
    folder, shown, ids = Path(config.output.clips), context.queries.shown, clips.ids
    paths = write_audio(model, shown, prompts, folder, config.output.clip_format)
    compared = ComparedClips([shown], ids, clips.paths)
    near = choose_pairs([one.verdicts.train_rank for one in runs])
    aspects, passages = tabulate_resemblance(model, corpus, context.items, compared, near, cache)
    return {
        "runs": row,
        "clips": store_tables.tabulate_prompted_clips(prompts, ids, shown.seconds.tolist(), paths, folder, RUN_ID),
        "aspects": aspects,
        "passages": passages,
        **{name: stack_tables([table[name] for table in tables]) for name in PAIR_TABLES},
    }


def score_tuned_clips(tuned: TunedPass, main: Context, done: list[MethodRun]) -> tuple[Context, list[CalibratedRun]]:
    """Scores and verdicts of the tuned model's clips, by the methods of `done` under their ids.

    The model has the tuned weights when this is called, `apply_update`.
    """
    loaded = main.items, tuned.name_tracks(main.track_key, main.model)
    context, _ = make_context(main.model, tuned.corpus, tuned.config, main.cache, loaded, tuned.prompts)
    context = replace(context, memo={"recordings": main.make_once("recordings", dict)})  # they sound alike to both
    id_of = {one.method.name: one.method_id for one in done}
    outcome = run_methods(context, tuned.choose_methods(list(id_of)))
    roles, groups = assign_roles(tuned.corpus.tracks), group_clips(context)
    completed = [replace(one, method_id=id_of[one.method.name]) for one in outcome.completed]
    return context, [calibrate_run(one, roles, groups) for one in completed]


def group_clips(context: Context) -> ClipGroups:
    """The run's clips with their match bins, fixed before any score is seen."""
    queries, items = context.queries, context.items
    of_kind = [queries.shown, queries.targets, queries.cohort]
    similarity = None
    if items.embeddings is not None and queries.shown.embeddings is not None:  # clips without words are shown ones
        own = queries.shown.embeddings.double() @ items.embeddings.double().T
        similarity = np.pad(own.numpy(), ((0, len(queries.targets) + len(queries.cohort)), (0, 0)))
    prompts = [prompt for clips in of_kind for prompt in clips.prompts]
    return ClipGroups(match_clips(prompts, context.tracks, similarity), len(queries.shown))


def calibrate_run(run: MethodRun, roles: TrackRoles, clips: ClipGroups) -> CalibratedRun:
    """Verdicts on one method's results."""
    normalisation = Normalisation.fit(run.result.cohort)
    verdicts = calibrate_scores(run.result.cells, normalisation, roles, clips)
    reliability = measure_reliability(run.result.cells[: clips.generated], normalisation, roles.trained)
    return CalibratedRun(run, normalisation, verdicts, reliability)


def tabulate_results(calibrated: CalibratedRun, context: Context, clips: StoredClips) -> dict[str, Columns]:
    """Tables of one method's results: SCORE_TABLES and diagnostics."""
    run, verdicts, generated = calibrated.run, calibrated.verdicts, len(clips.prompts)
    result, tracks, config, frame_rate = run.result, context.tracks, context.config, context.model.frame_rate
    rises = {}
    if run.method.has_moments:
        rises = compute_moments(context, run.method, _choose_moment_pairs(verdicts, generated, config.moments.tracks))
    valid, least = context.items.valid_frames.numpy(), config.moments.rate_hz
    window_s = max(1, round(config.unlearning.window_s * frame_rate)) / frame_rate
    keys = ResultKeys(run.method_id, clips.ids, tracks)
    windows: Columns = {}
    if result.windows is not None:
        windows = store_tables.tabulate_clip_moments(result.windows, keys, window_s)
    figures = [*diagnose(verdicts, context.target_rows, tracks, generated), *result.remarks]
    return {
        "scores": store_tables.tabulate_scores(verdicts, keys),
        "match_bins": store_tables.tabulate_match_bins(verdicts, keys),
        "track_claims": store_tables.tabulate_track_claims(verdicts, keys),
        "score_parts": store_tables.tabulate_score_parts(result.cells, verdicts.rank, keys, config.bank.t_low),
        "moments": store_tables.tabulate_moments(rises, keys, valid, frame_rate, least),
        "clip_moments": windows,
        "diagnostics": store_tables.tabulate_diagnostics(run.method_id, config.diagnostics.final_step, figures),
    }


def _choose_moment_pairs(verdicts: Verdicts, generated: int, tracks: int) -> list[tuple[int, int]]:
    """(clip, track) rows whose moments are computed: the best-ranked training tracks of each generated clip."""
    chosen = verdicts.train_rank[:generated]
    return [(int(q), int(i)) for q, i in zip(*np.nonzero((chosen > 0) & (chosen <= tracks)), strict=True)]


def tabulate_clips(
    clips: StoredClips, seconds: list[float], paths: list[Path], folder: Path, analyses: dict[int, Analysis]
) -> Columns:
    """Table `clips`; `seconds` and `paths` of those that are shown, whose audio lies below `folder`."""
    shown, ids = len(clips.prompts), clips.ids
    return stack_tables(
        [
            store_tables.tabulate_prompted_clips(clips.prompts, ids[:shown], seconds, paths, folder),
            store_tables.tabulate_target_clips(clips.targets, ids[shown:], analyses),
        ]
    )


def compare_methods(runs: list[CalibratedRun], generated: int, roles: TrackRoles) -> Columns:
    """Table `agreement` of every two methods, on the generated clips."""
    scores = [one.verdicts.score_norm[:generated][:, roles.trained] for one in runs]
    return store_tables.tabulate_agreement([one.run.method_id for one in runs], scores)


def audit_scores(context: Context, runs: list[MethodRun], clip_id: int) -> None:
    """Compare the first clip's scores by unlearning with finite differences over every track; print rho."""
    for run in runs:
        if not isinstance(run.method, Unlearning):
            continue
        direction = run.method.step.share_directions(context).average_halves(0)
        settings = context.config.unlearning
        rhos = audit_clip(context.model, context.items, direction, run.result.score[0], settings, context.bank)
        print(
            f"audit, clip {clip_id}, {len(context.items)} tracks: rho {rhos[0]:.4f} (step 1e-5), {rhos[1]:.4f} (1e-4)"
        )


def diagnose_checkpoints(
    runs: list[MethodRun], corpus: Corpus, generated: int, config: RunConfig, cache: Cache
) -> list[Columns]:
    """Diagnostics of unlearning at the checkpoints kept along the training."""
    section, reduced = config.diagnostics, config.diagnostics.reduce(config)
    folder = Path(section.checkpoints)
    paths = sorted(folder.glob("step-*/model.safetensors")) if section.checkpoints else []
    if section.checkpoints and not paths:
        print(f"  {folder}: no checkpoints here; diagnostics for the shipped weights alone", flush=True)
    tables, roles = [], assign_roles(corpus.tracks)
    for run in runs:
        for path in paths if isinstance(run.method, Unlearning) else []:
            step = int(path.parent.name.removeprefix("step-"))
            if step == section.final_step:
                continue
            print(f"diagnostics at training step {step}", flush=True)
            context, _ = make_context(load_model(config, path), corpus, reduced, cache)
            early = calibrate_run(run_methods(context, [run.method.name]).completed[0], roles, group_clips(context))
            figures = diagnose(early.verdicts, context.target_rows, corpus.tracks, generated)
            tables.append(store_tables.tabulate_diagnostics(run.method_id, step, figures))
    return tables


def _print_diagnostics(diagnostics: list[Columns], runs: list[MethodRun]) -> None:
    """A line for each method and training step."""
    names = {run.method_id: run.method.name for run in runs}
    for table in diagnostics:
        values = ", ".join(f"{name} {value:.3g}" for name, value in zip(table["name"], table["value"], strict=True))
        print(f"{names[table['method_id'][0]]}, step {table['checkpoint_step'][0]}: {values}", flush=True)


def analyse_tracks(corpus: Corpus) -> dict[int, Analysis]:
    """Loudness, peaks and hashes of all tracks with audio, by track_id."""
    paths = {track.track_id: track.path for track in corpus.tracks if track.path}
    return {track_id: analyse(paths[track_id]) for track_id in progress("loudness and peaks", list(paths))}


def _list_audio_paths(corpus: Corpus) -> dict[int, str]:
    """Paths below the corpus' folder, by track_id."""
    return {t.track_id: make_relative_path(t.path, corpus.root) for t in corpus.tracks if t.path}
