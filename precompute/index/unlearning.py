"""Unlearning by the index: all scores are estimated from sketches, those of a shortlist are exact.

Exact: scores and moments of the shortlist (`exact.py`), which `search.choose_shortlist` chooses. Estimated: all others
(`search.py`, `calibration.py`). P parameters, k numbers a sketch, W of the widest; a, b: see `index/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.tracks import Track
from precompute.gradients.context import Context, Queries
from precompute.gradients.directions import HALVES, Directions, multiply
from precompute.gradients.fisher import invert_fisher
from precompute.gradients.flat_vectors import average_strata
from precompute.gradients.item_gradients import CellGradients
from precompute.gradients.sketches import Sketch
from precompute.gradients.steps import UnlearningStep
from precompute.gradients.taps import Tap
from precompute.index import recall
from precompute.index.calibration import IndexCalibration, SketchedScores
from precompute.index.exact import Shortlist
from precompute.index.layout import UnlearningPart
from precompute.index.scoring import ClipResults, ScoringJob, choose_moment_pairs
from precompute.index.search import fold_sketches, multiply_sketches, quantise_sketches
from precompute.model.diffusion import Items, Model
from precompute.significance.match_bins import match_clips
from precompute.significance.verdicts import assign_roles

# -- rows --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnlearningRecorder:
    """Makes the rows of unlearning's part of an index."""

    config: RunConfig
    step: UnlearningStep
    fisher: np.ndarray  # [P], before damping
    inverse_fisher: torch.Tensor  # [P]
    sketch: Sketch  # P -> the widest
    width: int  # k; 0 while it is not chosen
    directions: Directions  # of the cohort's clips
    clips: np.ndarray | None = None  # [K, k]: sketches of b of the cohort's clips; None: computed at the end
    lengths: np.ndarray | None = None  # [K]: |b|

    @property
    def weight(self) -> torch.Tensor:
        """[P]: what turns a track's gradient into a."""
        return self.inverse_fisher.sqrt()

    @property
    def columns(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        """Type and shape of a row, by column."""
        return {
            "numbers": (np.int8, (1, self.width)),
            "scale": (np.float32, (1,)),
            "noise": (np.float64, ()),
            "cohort": (np.float64, (len(self.directions.clips),)),
        }

    def make_tap(self, context: Context, keep_wide: bool) -> Tap:
        """The tap of a pass; `keep_wide`: the widest sketch as it is, for `shrink`."""
        width = None if keep_wide else self.width
        settings = (self.sketch.width, self.config.index.seed, width, context.track_key)
        return RowTap(self, keep_wide, fingerprint(self.directions.key, self.config.bank, settings))

    def shrink(self, recorded: Arrays) -> Arrays:
        """Columns from what the tap recorded, stacked over tracks."""
        columns = {name: recorded[name] for name in recorded if name != "wide"}
        return columns | (shrink_sketches(recorded["wide"], self.width) if "wide" in recorded else {})

    def make_part(self, columns: Arrays) -> UnlearningPart:
        """The part of the index."""
        clips, lengths = self.clips, self.lengths
        if clips is None or lengths is None:
            clips, lengths = self.sketch_cohort(self.width), self.measure_lengths()
        return UnlearningPart(**columns, clips=clips, lengths=lengths, fisher=self.fisher)

    def measure_lengths(self) -> np.ndarray:
        """|b| of the cohort's clips, [K] float64."""
        weight = self.weight
        return np.array([float((step / weight).double().norm()) for step in self.directions.load().sums])

    def sketch_cohort(self, width: int) -> np.ndarray:
        """Sketches of b of the cohort's clips, [K, width]."""
        steps, weight = self.directions.load().sums, 1.0 / self.weight
        return np.stack([fold_sketches(self.sketch(step[None], weight).numpy(), width)[0] for step in steps])


def make_recorder(
    model: Model, config: RunConfig, cache: Cache, cohort: Items, fisher: np.ndarray, settled: dict[str, Any]
) -> UnlearningRecorder:
    """`settled`: what is fixed when an index is first made: trained (number of tracks), width, key (of the clips)."""
    step = UnlearningStep(config.unlearning, settled["trained"])
    damped = invert_fisher(torch.from_numpy(fisher), config.fisher.damping)
    queries = Queries(shown=cohort[[]], targets=cohort[[]], cohort=cohort)
    return UnlearningRecorder(
        config=config,
        step=step,
        fisher=fisher,
        inverse_fisher=damped,
        sketch=Sketch(len(fisher), config.index.widest, config.index.seed),
        width=settled["width"],
        directions=step.make_directions(model, queries, lambda: damped, config, cache, settled["key"]),
    )


class RowTap(Tap):
    """A track's sketch, its exact scores for the cohort, and how much its draws make them vary."""

    def __init__(self, recorder: UnlearningRecorder, keep_wide: bool, key: str) -> None:
        """`keep_wide`: the widest sketch as it is; else folded to the width of the index and turned to int8."""
        stage = "index-wide" if keep_wide else "index"
        super().__init__(stage, key, recorder.step.kind, recorder.directions.parameters)
        self.recorder, self.keep_wide = recorder, keep_wide
        self.weight: torch.Tensor | None = None
        self.lengths: np.ndarray | None = None

    def prepare(self) -> None:
        """Load what all tracks share."""
        self.weight = self.recorder.weight
        self.lengths = self.recorder.measure_lengths()

    def record(self, track: CellGradients) -> Arrays:
        """One track's row."""
        mean, steps = track.rows.mean(0, keepdim=True), self.recorder.directions.load().sums
        replicates = average_strata(track.rows, self.recorder.config.bank.replicates)
        parts = multiply(replicates, steps).numpy() / self.lengths  # [R, K]
        variance = parts.var(0, ddof=1).mean() / len(parts)
        exact = {"cohort": multiply(mean, steps)[0].numpy(), "noise": np.sqrt(variance)}
        wide = self.recorder.sketch(mean, self.weight).numpy()
        if self.keep_wide:
            return exact | {"wide": wide[0]}
        return exact | {name: values[0] for name, values in shrink_sketches(wide, self.recorder.width).items()}

    def release(self) -> None:
        """Let go of what all tracks share."""
        self.weight = None
        self.recorder.directions.release()


def shrink_sketches(wide: np.ndarray, width: int) -> Arrays:
    """The widest sketches [n, W] at the width and precision of the index: numbers [n, 1, k], scale [n, 1]."""
    numbers, scale = quantise_sketches(fold_sketches(wide, width)[:, None])
    return {"numbers": numbers, "scale": scale}


def measure_width(
    recorder: UnlearningRecorder, gathered: Arrays, tracks: Sequence[Track], prompts: Sequence[str]
) -> tuple[int, dict[str, Any]]:
    """Recall over widths on some tracks, whose rows with wide sketches are `gathered`: (width that follows, record).

    `prompts`: of the cohort's clips, on which recall is measured.
    """
    settings, roles = recorder.config.index, assign_roles(tracks)
    sample = recall.RecallSample(
        exact=gathered["cohort"].T,
        rows=gathered["wide"],
        clips=recorder.sketch_cohort(settings.widest),
        lengths=recorder.measure_lengths(),
        is_train=roles.is_train,
        match_bin=match_clips(prompts, tracks),
    )
    points = [recall.measure_recall(sample, width, settings.shortlist) for width in recall.list_widths(settings.widest)]
    width = recall.choose_width(points, settings.recall)
    print(recall.format_recall(points, width, len(tracks), len(prompts), settings.shortlist), flush=True)
    rows = [asdict(point) for point in points]
    return width, {"tracks": len(tracks), "clips": len(prompts), "shortlist": settings.shortlist, "points": rows}


# -- scores of new clips -----------------------------------------------------------------------------------------------


def score_by_unlearning(job: ScoringJob, part: UnlearningPart, trained: int) -> ClipResults:
    """Search the index, and score a shortlist of tracks and decoys exactly.

    `trained`: number of training tracks when the index was first made.
    """
    context, config = job.context, job.context.config
    damped = invert_fisher(torch.from_numpy(part.fisher), config.fisher.damping)
    step = UnlearningStep(config.unlearning, trained)
    directions = step.make_directions(
        context.model, context.queries, lambda: damped, config, context.cache, context.key
    )
    directions.ensure()
    print("search", flush=True)
    calibration = IndexCalibration.fit(part, job.roles, job.groups)
    sketched = _search_index(directions, part, calibration, damped, config)
    places = calibration.choose_places(sketched, config.index.shortlist)
    print(f"  {len(places)} of {len(part.noise)} tracks and decoys get exact scores by unlearning", flush=True)
    halves = calibration.estimator.slope * sketched.halves
    shortlist = Shortlist(
        model=context.model,
        step=step,
        directions=directions,
        queries=context.queries,
        tracks=job.load_items(places.tolist()),
        apart=(halves - halves.mean(1, keepdims=True))[:, :, places].transpose(0, 2, 1),
        bank=context.bank,
        cache=context.cache,
    )
    cells, exact_windows = shortlist.compute_scores()
    verdicts = calibration.judge_clips(sketched, places, cells)
    windows = _estimate_windows(calibration, sketched, places, cells)
    if exact_windows is not None:
        windows[:, places] = exact_windows
    row_of = {int(place): row for row, place in enumerate(places)}
    pairs = choose_moment_pairs(verdicts, places, config.moments.tracks)
    rises = shortlist.compute_moments([(q, row_of[place]) for q, place in pairs])
    rises = {(q, int(places[row])): rise for (q, row), rise in rises.items()}
    return ClipResults(verdicts, places, cells, windows, rises)


def _search_index(
    directions: Directions,
    part: UnlearningPart,
    calibration: IndexCalibration,
    damped: torch.Tensor,
    config: RunConfig,
) -> SketchedScores:
    """Sketches of the clips' steps, and their products with all tracks in one reading of the index."""
    width = part.numbers.shape[2]
    sketch = Sketch(len(part.fisher), config.index.widest, config.index.seed)
    weight, vectors, lengths, counts = 1.0 / damped.sqrt(), [], [], []
    for number in range(len(directions.clips)):
        arrays = directions.load_clip(number)
        steps = torch.cat([torch.from_numpy(arrays["halves"]), torch.from_numpy(arrays["windows"])])
        vectors.append(fold_sketches(sketch(steps, weight).numpy(), width))
        lengths.append(float((steps[:HALVES].mean(0) * weight).double().norm()))
        counts.append(len(steps))
    clips = np.concatenate(vectors)
    products = multiply_sketches(part.numbers[:, 0], part.scale[:, 0], clips)
    parts = np.split(calibration.estimator.correct(products, clips), np.cumsum(counts)[:-1])
    halves = np.stack([own[:HALVES] for own in parts])
    return SketchedScores(halves, [own[HALVES:] for own in parts], np.array(lengths))


def _estimate_windows(
    calibration: IndexCalibration, sketched: SketchedScores, places: np.ndarray, cells: np.ndarray
) -> np.ndarray:
    """[Q, N, W]: parts of the score by window of the clip, that sum to it; NaN past a clip's last window.

    What exact scores [Q, n, ...] and their estimated parts differ by is spread evenly over the windows.
    """
    estimator = calibration.estimator
    counts = [len(own) for own in sketched.windows]
    by_window = np.full((len(counts), sketched.halves.shape[2], max(counts)), np.nan)
    for q, own in enumerate(sketched.windows):
        estimates = (estimator.slope * own + estimator.offset * (sketched.lengths[q] / counts[q])).T
        short = cells[q].mean((1, 2, 3)) - estimates[places].sum(1)
        estimates[places] += short[:, None] / counts[q]
        by_window[q, :, : counts[q]] = estimates
    return by_window
