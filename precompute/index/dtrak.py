"""D-TRAK by the index: every track's score is exact, so nothing is searched, and nothing is estimated.

The index holds the sketches that a run's ridge regression works on. A new clip costs its own gradients of the squared
output, by half and window, one solve, and one product with all rows. Scores of the cohort are computed then, too, so
that they rest on the same ridge: a track that was taken out of the index is no longer among its rows, though the model
was still trained on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from precompute.common.cache import Arrays
from precompute.common.parallel import count_workers, run_jobs
from precompute.config.run import RunConfig
from precompute.gradients.context import Context
from precompute.gradients.sketches import TrackRidge
from precompute.gradients.taps import Tap
from precompute.index.layout import DtrakPart
from precompute.index.scoring import ClipResults, ScoringJob, choose_moment_pairs
from precompute.index.search import NUMBERS, quantise_sketches
from precompute.methods.catalogue import build_method
from precompute.methods.trak import DTrak
from precompute.model.diffusion import Items
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import Verdicts, calibrate_scores


def build_dtrak(config: RunConfig, trained: int) -> DTrak:
    """The method as a run has it; `trained`: number of training tracks."""
    return cast(DTrak, build_method("dtrak", config, trained))


@dataclass(frozen=True)
class DtrakRecorder:
    """Makes the rows of D-TRAK's part of an index."""

    method: DTrak
    config: RunConfig
    clips: np.ndarray  # [K, k]: sketches of the cohort's clips

    @property
    def columns(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        """Type and shape of a row, by column."""
        replicates = self.config.bank.replicates
        return {
            "numbers": (NUMBERS[self.config.index.precision], (replicates, self.method.settings.width)),
            "scale": (np.float32, (replicates,)),
        }

    def make_tap(self, context: Context, keep_wide: bool) -> Tap:
        """The tap of a run, so that what a run of the same tracks has left in the cache is used."""
        return self.method.make_taps(self.method.focus(context))["sketches"]

    def shrink(self, recorded: Arrays) -> Arrays:
        """Columns from what the tap recorded."""
        numbers, scale = quantise_sketches(recorded["sketches"], self.config.index.precision)
        return {"numbers": numbers, "scale": scale}

    def make_part(self, columns: Arrays) -> DtrakPart:
        """The part of the index."""
        return DtrakPart(columns["numbers"], columns["scale"], self.clips)


def sketch_cohort(context: Context) -> np.ndarray:
    """Sketches of the cohort's clips of a run's context, [K, k]; from the cache where the run has left them."""
    method = build_dtrak(context.config, len(context.trained))
    return method.load_clips(method.focus(context)).cohort.astype(np.float32)


def score_by_dtrak(job: ScoringJob, part: DtrakPart) -> ClipResults:
    """Exact scores, windows and moments of new clips."""
    method = build_dtrak(job.context.config, len(job.context.trained))
    context, table = method.focus(job.context), part.table
    clips = method.load_clips(context)
    ridge = TrackRidge.fit(table, context.trained, method.settings.damping)
    normalisation = Normalisation.fit(ridge.score(part.clips, table))
    cells = ridge.score_halves(clips.stored, table)
    verdicts = calibrate_scores(cells, normalisation, job.roles, job.groups)
    windows = ridge.score_windows(clips.windows, table) if method.has_moments else None
    rises: dict[tuple[int, int], np.ndarray] = {}
    if method.has_moments:
        directions = [method.expand(context, ridge, halves) for halves in clips.stored]
        rises = _compute_moments(job, method, directions, ridge, verdicts)
    return ClipResults(verdicts, np.arange(table.shape[0]), cells, windows, rises)


def _compute_moments(
    job: ScoringJob, method: DTrak, directions: list[Any], ridge: TrackRidge, verdicts: Verdicts
) -> dict[tuple[int, int], np.ndarray]:
    """Influence over time in the best tracks of each clip, shared among workers."""
    context = method.focus(job.context)
    every = np.arange(verdicts.rank.shape[1])
    pairs = choose_moment_pairs(verdicts, every, context.config.moments.tracks)
    places = sorted({place for _, place in pairs})
    items: Items = job.load_items(places)

    def compute(number: int) -> np.ndarray:
        q, place = pairs[number]
        track = items[[places.index(place)]]

        def differentiate() -> Arrays:
            return {"rise": method.differentiate(context, directions[q], track) * ridge.factor[place]}

        return context.cache_piece(f"moments-{number:05d}", differentiate)["rise"]

    workers = count_workers(context.model.device, context.parameter_count)
    run_jobs("moments (D-TRAK)", range(len(pairs)), compute, workers, context.cache)
    return {pair: compute(number) for number, pair in enumerate(pairs)}
