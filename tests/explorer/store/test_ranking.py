"""Rankings against naive sorting; spans against a naive computation from the windows; q-values against counting."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from explorer.store.ranking import NORMALISED, RAW, Span, compute_q_values, rank_clip, rank_span


@pytest.mark.parametrize("order", [NORMALISED, RAW])
def test_a_ranking_is_the_sorted_scores(store, order):
    ranking = rank_clip(store, 1, 1, order)
    column = "score_norm" if order == NORMALISED else "score"
    frame = store.scores.read_frame(1, 1).sort_values([column, "track_id"], ascending=[False, True])
    assert ranking.track_id.tolist() == frame["track_id"].tolist()
    assert ranking.value.tolist() == frame[column].tolist()
    assert ranking.is_decoy.tolist() == frame["is_decoy"].tolist()
    assert ranking.above_noise.tolist() == frame["above_noise"].tolist()
    assert ranking.tracks == 40 and ranking.decoys == 40


def test_places_count_training_tracks(store):
    ranking = rank_clip(store, 1, 1, NORMALISED)
    stored = store.scores.read_frame(1, 1).set_index("track_id")["train_rank"]
    tracks_above = 0
    for track_id, decoy, place in zip(ranking.track_id, ranking.is_decoy, ranking.place, strict=True):
        assert place == tracks_above + 1
        if not decoy:
            assert place == stored.loc[track_id]
            assert ranking.at(int(place)) == track_id
            tracks_above += 1
    assert ranking.first(3) == [ranking.at(place) for place in (1, 2, 3)]
    decoys = ranking.track_id[ranking.is_decoy]
    assert [ranking.at(i + 1, decoy=True) for i in range(40)] == decoys.tolist()
    assert ranking.at(0) is None and ranking.at(41) is None and ranking.at(41, decoy=True) is None
    assert ranking.index(int(decoys[3])) == np.flatnonzero(ranking.track_id == decoys[3])[0]
    assert ranking.index(999) is None


def test_share_counts_positive_scores_of_training_tracks(store):
    ranking = rank_clip(store, 1, 1, NORMALISED)
    positive = [max(0.0, v) if not d else 0.0 for v, d in zip(ranking.value, ranking.is_decoy, strict=True)]
    for i in (0, 7, 79):
        assert ranking.share[i] == pytest.approx(sum(positive[: i + 1]) / sum(positive))


def test_a_span_ranks_what_its_windows_draw(store, made):
    window_s = 2.0 / made.WINDOWS
    ranking = rank_span(store, 1, 1, Span(3, 3, window_s))
    assert ranking.track_id[0] == made.SPAN_TRACK and not ranking.is_decoy[0]
    assert rank_span(store, 1, 1, Span(1, 2, window_s)).track_id[0] != made.SPAN_TRACK


@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 3), (1, 4)])
def test_a_span_is_compared_with_the_other_clips(store, first, last):
    ranking = rank_span(store, 1, 2, Span(first, last, 0.625))
    every = {clip: store.scores.read_clip_moments(1, clip, range(1, 81)).influence for clip in (1, 2, 3)}
    rows = [(clip, track, values) for clip, found in every.items() for track, values in found.items()]
    z = {}
    for track_id in range(1, 81):
        own = next(np.array(v) for c, t, v in rows if (c, t) == (2, track_id))
        others = np.concatenate([v for c, t, v in rows if c != 2 and t == track_id])
        total = own[first - 1 : last].sum() - (last - first + 1) * others.mean()
        z[track_id] = total / others.std(ddof=1)
    training = np.array([z[i] for i in range(1, 41)])
    expected = {i: (value - training.mean()) / training.std(ddof=1) for i, value in z.items()}
    assert dict(zip(ranking.track_id.tolist(), ranking.value, strict=True)) == pytest.approx(expected, rel=1e-3)
    assert ranking.track_id.tolist() == sorted(expected, key=lambda i: -expected[i])
    assert ranking.q_value.tolist() == compute_q_values(ranking.value, ranking.is_decoy).tolist()


def test_the_only_clip_is_compared_with_its_own_windows(made, tmp_path):
    from explorer.store import Store

    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM clip_moments WHERE clip_id != 1")
        con.execute("DELETE FROM window_sums")
        con.execute(
            "INSERT INTO window_sums SELECT method_id, track_id, count(*), sum(v), sum(v * v) FROM"
            " (SELECT method_id, track_id, unnest(influence)::DOUBLE AS v FROM clip_moments) GROUP BY ALL"
        )
    ranking = rank_span(Store(path), 1, 1, Span(3, 3, 0.5))
    assert ranking.track_id[0] == made.SPAN_TRACK and np.isfinite(ranking.value).all()


def test_q_values_count_decoys():
    rng = np.random.default_rng(3)
    value = np.round(rng.normal(0, 1, 60), 1)  # with ties
    is_decoy = rng.random(60) < 0.4
    tracks, decoys = (~is_decoy).sum(), is_decoy.sum()

    def rate(threshold: float) -> float:
        above = value >= threshold
        return min(1.0, (1 + (above & is_decoy).sum()) * (tracks / decoys) / max(1, (above & ~is_decoy).sum()))

    naive = [min(rate(t) for t in value if t <= v) for v in value]
    assert compute_q_values(value, is_decoy) == pytest.approx(naive)
    assert (compute_q_values(value, np.zeros(60, bool)) == 1).all()
    assert (compute_q_values(value, np.ones(60, bool)) == 1).all()
