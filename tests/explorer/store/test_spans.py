"""Rankings of spans against a naive computation from the windows; their test against whole arrays of all clips."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from explorer.store import Store
from explorer.store.above_noise import OTHER, judge_pairs
from explorer.store.ranking import Span
from explorer.store.spans import SpanNulls, judge_span, rank_span, read_nulls


def test_a_span_ranks_what_its_windows_draw(store, made):
    window_s = 2.0 / made.WINDOWS
    ranking = rank_span(store, 1, 1, Span(3, 3, window_s))
    assert ranking.track_id[0] == made.SPAN_TRACK and not ranking.is_decoy[0]
    assert rank_span(store, 1, 1, Span(1, 2, window_s)).track_id[0] != made.SPAN_TRACK
    assert ranking.error is None and (ranking.intervals.best == ranking.place).all()


@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 3), (1, 4)])
def test_a_span_is_in_units_of_the_tracks_windows_in_other_clips(store, first, last):
    ranking = rank_span(store, 1, 2, Span(first, last, 0.625))
    every = {clip: store.scores.read_clip_moments(1, clip, range(1, 81)).influence for clip in (1, 2, 3)}
    expected = {}
    for track_id in range(1, 81):
        others = np.concatenate([np.array(every[clip][track_id]) for clip in (1, 3)])
        expected[track_id] = sum(every[2][track_id][first - 1 : last]) / others.std(ddof=1)
    assert dict(zip(ranking.track_id.tolist(), ranking.value, strict=True)) == pytest.approx(expected, rel=1e-3)
    assert ranking.track_id.tolist() == sorted(expected, key=lambda i: -expected[i])


def test_the_only_clip_is_compared_with_its_own_windows(made, tmp_path):
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM clip_moments WHERE clip_id != 1")
        con.execute("DELETE FROM window_sums")
        con.execute(
            "INSERT INTO window_sums SELECT method_id, track_id, count(*), sum(v), sum(v * v) FROM"
            " (SELECT method_id, track_id, unnest(influence)::DOUBLE AS v FROM clip_moments) GROUP BY ALL"
        )
    store = Store(path)
    ranking = rank_span(store, 1, 1, Span(3, 3, 0.5))
    own = np.array(store.scores.read_clip_moments(1, 1, [made.SPAN_TRACK]).influence[made.SPAN_TRACK])
    assert ranking.value[ranking.index(made.SPAN_TRACK)] == pytest.approx(own[2] / own.std(ddof=1), rel=1e-4)
    assert np.isfinite(ranking.value).all()
    assert {one.null_rows for one in ranking.bins} == {8}  # its own decoys are all the nulls there are


def test_nulls_are_decoys_of_the_tested_bins_of_generated_clips(store, made):
    nulls = read_nulls(store, 1, 1, Span(2, 3, 0.5))
    pairs = list(zip(nulls.clip_id.tolist(), nulls.track_id.tolist(), nulls.match_bin.tolist(), strict=True))
    every = [
        (c, t, made.bin_of(c, t)) for c in (1, 2, 3) for t in range(made.TRACKS + 1, made.TRACKS + made.DECOYS + 1)
    ]
    assert pairs == [one for one in every if one[2] != OTHER]
    for clip, track, value in zip(nulls.clip_id.tolist(), nulls.track_id.tolist(), nulls.value, strict=True):
        (kept,) = store.scores.read_clip_moments(1, clip, [track]).influence.values()
        assert value == pytest.approx(kept[1] + kept[2], rel=1e-5)


def test_windows_past_a_shorter_clip_are_left_out(made, tmp_path):
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE clip_moments SET influence = influence[:2] WHERE clip_id = 3")
    store = Store(path)
    assert set(read_nulls(store, 1, 1, Span(3, 4, 0.5)).clip_id.tolist()) == {1, 2}
    nulls = read_nulls(store, 1, 1, Span(2, 3, 0.5))
    (kept,) = store.scores.read_clip_moments(1, 3, [43]).influence.values()
    own = nulls.value[(nulls.clip_id == 3) & (nulls.track_id == 43)]
    assert own == pytest.approx(kept[1], rel=1e-4)


def draw_clips(seed: int, clips: int = 40, tracks: int = 30, decoys: int = 24) -> tuple[np.ndarray, ...]:
    """Scores and bins of all tracks in some clips; the first track stands out in the first clip."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, tracks + decoys + 1, dtype=np.int32)
    is_decoy = ids > tracks
    match_bin = rng.integers(0, 3, (clips, len(ids)))
    score = rng.normal(0, 1, match_bin.shape) + rng.normal(0, 3, (clips, 1))
    match_bin[0, 0], score[0, 0] = 2, score[0].max() + 8
    return ids, is_decoy, match_bin, score


@pytest.mark.parametrize("gives_nulls", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_spans_test_is_that_of_whole_clips(seed, gives_nulls):
    """On few columns it says what it says on the arrays of all tracks, but for which decoy a track leaves out."""
    ids, is_decoy, match_bin, score = draw_clips(seed)
    clip, track = np.nonzero((match_bin[1:] != OTHER) & is_decoy)
    nulls = SpanNulls(clip + 2, ids[track], match_bin[1:][clip, track], score[1:][clip, track])
    columns = {"track_id": ids, "is_decoy": is_decoy, "match_bin": match_bin[0], "total": score[0]}
    rows, claims = judge_span(columns, nulls, (ids, np.arange(len(ids))), gives_nulls)
    enters = np.ones(len(score), bool)
    enters[0] = gives_nulls
    whole = judge_pairs(score, np.zeros((1, len(ids))), match_bin, is_decoy, np.arange(len(ids)), 1, enters)
    decoys = is_decoy[rows]
    np.testing.assert_allclose(claims.p_value[0, : len(rows)][decoys], whole.p_value[0, rows][decoys])
    assert [one.null_rows for one in claims.bins] == [one.null_rows for one in whole.bins]
    assert [one.candidates for one in claims.bins] == [one.candidates for one in whole.bins]
    assert claims.above_noise[0, 0] and whole.above_noise[0, 0]
    assert np.isnan(claims.p_value[0, len(rows) :]).all()


def test_a_track_stands_out_of_a_span_where_decoys_suffice(made, tmp_path):
    """With as many clips as a cohort has, one track that owns the span is found, and the bins say what it rests on."""
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        for table in ("scores", "clip_moments", "clips"):
            for copy in range(1, 16):  # of the clips in which no track owns a span
                con.execute(
                    f"INSERT INTO {table} SELECT * REPLACE (clip_id + {1000 * copy} AS clip_id) FROM {table}"
                    " WHERE clip_id BETWEEN 2 AND 3"
                )
        con.execute(
            "UPDATE clip_moments SET influence = list_transform(influence, lambda x, i: (x +"
            " 2e-7 * ((hash(clip_id * 100 + track_id, i) % 2001) / 1000.0 - 1))::FLOAT) WHERE clip_id > 1000"
        )
        con.execute("DELETE FROM window_sums")
        con.execute(
            "INSERT INTO window_sums SELECT method_id, track_id, count(*), sum(v), sum(v * v) FROM"
            " (SELECT method_id, track_id, unnest(influence)::DOUBLE AS v FROM clip_moments) GROUP BY ALL"
        )
    store = Store(path)
    ranking = rank_span(store, 1, 1, Span(3, 3, 0.5))
    row = ranking.index(made.SPAN_TRACK)
    assert ranking.q_value[row] <= 0.1 and ranking.p_value[row] == pytest.approx(1 / 265)
    assert [(one.match_bin, one.null_rows, one.can_tell) for one in ranking.bins] == [(2, 264, True), (1, 264, True)]
    assert np.isnan(ranking.q_value[ranking.is_decoy]).all() and np.isnan(ranking.p_value[ranking.match_bin == 0]).all()
    assert not ranking.above_noise[row]  # for the whole clip
