"""Calibration of the test of *above noise*: a run's scores, normalised with more and fewer common modes removed.

If training tracks and decoys differ by training alone, then per clip neither group stands above the other by much, and
the test made with the roles exchanged finds next to nothing. Shown clips are joined by the cohort's, each normalised by
the rest of the cohort, so that there are enough of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from precompute.common.cache import Cache
from precompute.common.results import Row, describe_hardware, format_table, write_result
from precompute.config.run import RunConfig
from precompute.corpus.intake import load_corpus
from precompute.errors import UserError
from precompute.methods.run import run_methods
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import load_model
from precompute.pipeline import make_context
from precompute.significance.diagnostics import compute_auc, measure_decoy_share
from precompute.significance.normalisation import CLIPS_A_MODE, Normalisation
from precompute.significance.q_values import Q_LIMIT, compute_q_values
from precompute.significance.verdicts import mask_tracks

MODES = (0, 1, 2, 4, 8, 12)
COLUMNS = ("modes", "auc", "auc_sd", "auc_least", "auc_most", "clips_tracks", "clips_decoys", "decoys_top10")


def evaluate_calibration(config: RunConfig, out: Path) -> dict[str, Any]:
    """Print the table for a run and write JSON to `out`; returns what was written. Scores come from the run's caches.

    Raises UserError without decoys.
    """
    corpus, model = load_corpus(config), load_model(config)
    is_train, is_decoy, _ = mask_tracks(corpus.tracks)
    if not is_decoy.any():
        raise UserError("evaluate calibration: the corpus has no decoys, and without them no test can be checked")
    context, _ = make_context(model, corpus, config, Cache(Path(config.output.work) / "cache"))
    result = run_methods(context, [Unlearning.name]).completed[0].result
    shown = result.score[: len(context.queries.shown)]
    rows = tabulate_calibration(shown, result.cohort, is_train, is_decoy)
    print(format_table(rows, COLUMNS), flush=True)
    print(f"A run removes one mode for every {CLIPS_A_MODE} clips of its cohort.")
    return write_result(
        out,
        f"the test of above noise with common modes removed: {len(shown)} clips and {len(result.cohort)} of the cohort",
        "python -m precompute evaluate calibration",
        describe_hardware(str(model.device)),
        rows,
        model_sha256=model.sha256,
    )


def tabulate_calibration(
    shown: np.ndarray, cohort: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray, modes: Sequence[int] = MODES
) -> list[Row]:
    """A row for each number of modes; scores [Q, N] of clips, [K, N] of the cohort, which joins them one by one.

    `auc`, `auc_sd`, `auc_least`, `auc_most`: probability that a track stands above a decoy, over clips. `clips_tracks`,
    `clips_decoys`: share of clips in which any track has q <= 0.10, and any decoy with the roles exchanged; `tracks`,
    `decoys` their numbers. `mirrored_*`: the same at the lower end of the scores, where nothing should be found either.
    """
    table = []
    for count in modes:
        if count > len(cohort) // 2:
            continue
        rows = [Normalisation.fit(cohort, is_train, is_decoy, count).apply(shown)]
        for k in range(len(cohort)):
            rest = Normalisation.fit(np.delete(cohort, k, 0), is_train, is_decoy, count)
            rows.append(rest.apply(cohort[k : k + 1]))
        z = np.concatenate(rows)
        areas = np.array([compute_auc(row[None], is_train, is_decoy) for row in z])
        row: Row = {"modes": count, "auc": areas.mean(), "auc_sd": areas.std(ddof=1)}
        row |= {"auc_least": areas.min(), "auc_most": areas.max()}
        for prefix, values in (("", z), ("mirrored_", -z)):
            for name, played, control in (("tracks", is_train, is_decoy), ("decoys", is_decoy, is_train)):
                passed = [int((compute_q_values(line, played, control)[played] <= Q_LIMIT).sum()) for line in values]
                row |= {f"{prefix}{name}": sum(passed), f"{prefix}clips_{name}": float(np.mean(np.array(passed) > 0))}
        row["decoys_top10"] = measure_decoy_share(z, is_train, is_decoy, 10)
        table.append({name: value if isinstance(value, int) else float(value) for name, value in row.items()})
    return table
