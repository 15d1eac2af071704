"""Rankings made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from explorer.store.above_noise import SAME_CAPTION, BinRecord
from explorer.store.ranking import Ranking


def describe_bin(candidates: int = 5, can_tell: bool = True, **other: Any) -> BinRecord:
    """A match bin of one clip, of the same caption if nothing else is said."""
    fields = {"match_bin": SAME_CAPTION, "decoys": 8, "null_rows": 264, "null_works": 40}
    return BinRecord(clip=0, candidates=candidates, can_tell=can_tell, **{**fields, **other})


def make_ranking(
    ids: Sequence[int],
    value: Sequence[float],
    is_decoy: Sequence[bool],
    above: Sequence[bool],
    q_value: Sequence[float] | float = 1.0,
    **other: Any,
) -> Ranking:
    """A ranking of these rows, strongest first; all match the clip's caption, and scores have no error."""
    count = len(ids)
    q = np.broadcast_to(np.asarray(q_value, float), count)
    fields: dict[str, Any] = {
        "error": np.zeros(count),
        "match_bin": np.full(count, SAME_CAPTION, np.uint8),
        "p_value": q / 10,
        "bins": (describe_bin(),),
    }
    return Ranking(
        track_id=np.array(ids, np.int32),
        is_decoy=np.array(is_decoy, bool),
        value=np.array(value, float),
        q_value=q,
        above_noise=np.array(above, bool),
        **{**fields, **other},
    )


def rank_values(
    train: Sequence[float], decoys: Sequence[float] = (), above: int = 0, q: float = 1.0, **other: Any
) -> Ranking:
    """Tracks are 1, 2 ... in the order given, decoys go on from there; the `above` best tracks are above noise."""
    value = np.array([*train, *decoys], dtype=float)
    order = np.argsort(-value, kind="stable")
    is_decoy = order >= len(train)
    flags = ~is_decoy & (np.cumsum(~is_decoy) <= above)
    return make_ranking((order + 1).tolist(), value[order].tolist(), is_decoy.tolist(), flags.tolist(), q, **other)
