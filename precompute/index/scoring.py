"""What new clips are scored with, and what comes of it; each method that the index serves has a module of its own.

Q new clips, N tracks and decoys in the order of the index, R x S cells of the noise bank, H halves of a clip's draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from precompute.corpus.tracks import Track
from precompute.gradients.context import Context
from precompute.index.layout import IndexCohort
from precompute.model.diffusion import Items, Model
from precompute.significance.match_bins import match_clips
from precompute.significance.verdicts import ClipGroups, TrackRoles, Verdicts


@dataclass(frozen=True)
class ScoringJob:
    """New clips, and the tracks of an index that they are scored against."""

    context: Context  # its `tracks` are all of the index, its `items` none; the clips are those that are shown
    roles: TrackRoles
    groups: ClipGroups  # of the new clips, then of the index's cohort: these give the nulls
    load_items: Callable[[Sequence[int]], Items]  # latents and conditions of the tracks at some places


@dataclass(frozen=True)
class ClipResults:
    """Results of one method for Q new clips."""

    verdicts: Verdicts
    places: np.ndarray  # [n]: tracks with exact scores; all others have estimates
    cells: np.ndarray  # [Q, n, R, S, H]: their partial scores
    windows: np.ndarray | None  # [Q, N, W]
    rises: dict[tuple[int, int], np.ndarray]  # influence over time in the track by (clip row, place)


def group_new_clips(model: Model, clips: Items, cohort: IndexCohort, tracks: Sequence[Track]) -> ClipGroups:
    """Match bins of new clips and of the cohort. Clips without words are matched by what CLAP hears in them."""
    similarity = None
    if clips.embeddings is not None and not all(clips.prompts):
        captions = sorted({track.caption for track in tracks})
        embeddings = model.embed_prompts(captions)
        if embeddings is not None:
            row_of = {caption: row for row, caption in enumerate(captions)}
            near = (clips.embeddings.double() @ embeddings.double().T).numpy()
            near = near[:, [row_of[track.caption] for track in tracks]]
            similarity = np.pad(near, ((0, len(cohort)), (0, 0)))
    return ClipGroups(match_clips([*clips.prompts, *cohort.prompts], tracks, similarity), len(clips))


def choose_moment_pairs(verdicts: Verdicts, places: np.ndarray, tracks: int) -> list[tuple[int, int]]:
    """(clip row, place) pairs whose moments are computed: the best-ranked training tracks of those at `places`."""
    rank = verdicts.train_rank[:, places]
    return [(int(q), int(places[n])) for q, n in zip(*np.nonzero((rank > 0) & (rank <= tracks)), strict=True)]
