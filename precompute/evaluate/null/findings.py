"""What scores say in a negative control, as rows: method, control, case, score, name, value, wanted, meaning. No torch.

`low`, `high` where there is an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.common.results import Row
from precompute.corpus.tracks import Track
from precompute.evaluate.ranking import mean_wins, two_way_interval
from precompute.significance.error_rates import area_under_curve, decoys_in_top
from precompute.store import tables as results

TOP = 10


def nothing_above_noise(above: np.ndarray, trained: np.ndarray) -> float:
    """Share of clips in which no training track is above noise; bool [Q, N], bool [N]."""
    return float((~above[:, trained].any(1)).mean())


def reverses(one: float, other: float) -> bool:
    """Whether two AUCs lie on opposite sides of chance."""
    return (one - 0.5) * (other - 0.5) < 0


@dataclass(frozen=True)
class Rows:
    """Rows of one method in one control."""

    method: str
    control: str
    tracks: Sequence[Track]  # [N]

    def separation(self, case: str, kind: str, scores: np.ndarray, wanted: str) -> list[Row]:
        """AUC with an interval over tracks and decoys, then decoys in the top 10, of scores [Q, N]."""
        is_train, is_decoy, _ = results.masks(self.tracks)
        area = area_under_curve(scores, is_train, is_decoy)
        interval = two_way_interval(mean_wins(scores, is_train, is_decoy))
        share = decoys_in_top(scores, is_train, is_decoy, TOP)
        chance = float(is_decoy.sum() / (is_train.sum() + is_decoy.sum()))
        meaning = f"share of decoys in the top 10; by chance {chance:.2f}"
        return [
            self.one(case, kind, "auc", area, wanted, "probability that a track outranks a decoy", interval),
            self.one(case, kind, "decoys_top10", share, "", meaning),
        ]

    def one(
        self,
        case: str,
        score: str,
        name: str,
        value: float,
        wanted: str,
        meaning: str,
        interval: tuple[float, float] | None = None,
    ) -> Row:
        row: Row = {"method": self.method, "control": self.control, "case": case, "score": score, "name": name}
        row["value"] = float(value)
        if interval is not None:
            row |= {"low": interval[0], "high": interval[1]}
        return {**row, "wanted": wanted, "meaning": meaning}
