"""Rankings against naive sorting; intervals of places against naive counting."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.store.places import compute_place_intervals
from explorer.store.ranking import NORMALISED, RAW, find_intervals, rank_clip


@pytest.mark.parametrize("order", [NORMALISED, RAW])
def test_a_ranking_is_the_sorted_scores(store, order):
    ranking = rank_clip(store, 1, 1, order)
    column = "score_norm" if order == NORMALISED else "score"
    frame = store.scores.read_frame(1, 1).sort_values([column, "track_id"], ascending=[False, True])
    assert ranking.track_id.tolist() == frame["track_id"].tolist()
    assert ranking.value.tolist() == frame[column].tolist()
    assert ranking.is_decoy.tolist() == frame["is_decoy"].tolist()
    assert ranking.above_noise.tolist() == frame["above_noise"].tolist()
    assert ranking.match_bin.tolist() == frame["match_bin"].tolist()
    for name in ("p_value", "q_value"):
        np.testing.assert_array_equal(getattr(ranking, name), frame[name].to_numpy(dtype=float))
    assert [one.match_bin for one in ranking.bins] == [2, 1]
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


def naive_places(score: float, error: float, own: int | None, training: list[float]) -> tuple[int, int]:
    others = [value for i, value in enumerate(training) if i != own]
    best = 1 + sum(value > score + 2 * error for value in others)
    return best, 1 + sum(value >= score - 2 * error for value in others)


@pytest.mark.parametrize("seed", range(6))
def test_places_allow_for_two_errors_either_way(seed):
    rng = np.random.default_rng(seed)
    score = np.round(rng.normal(0, 1, 40), 1)  # with ties
    error = rng.choice([0.0, 0.05, 0.3], 40)
    trained = rng.random(40) < 0.7
    training = score[trained]
    found = compute_place_intervals(score, error, np.sort(training), trained)
    own = {row: i for i, row in enumerate(np.flatnonzero(trained))}
    for row in range(40):
        assert (found.best[row], found.worst[row]) == naive_places(
            score[row], error[row], own.get(row), training.tolist()
        )


@pytest.mark.parametrize("order", [NORMALISED, RAW])
def test_a_place_lies_in_its_interval(store, order):
    ranking = rank_clip(store, 1, 1, order)
    best, worst = ranking.intervals
    assert (best <= ranking.place).all() and (ranking.place <= worst).all() and (best < worst).any()
    ids = [60, 3, 17]
    some = find_intervals(ranking, ids)
    assert some.best.tolist() == [best[ranking.index(i)] for i in ids]
    error = "std_error_norm" if order == NORMALISED else "std_error"
    value = "score_norm" if order == NORMALISED else "score"
    frame = store.scores.read_frame(1, 1).set_index("track_id").astype({value: float, error: float})
    training = frame[~frame["is_decoy"]]
    for i, track_id in enumerate(ids):
        row = frame.loc[track_id]
        own = None if row["is_decoy"] else training.index.get_loc(track_id)
        expected = naive_places(row[value], row[error], own, training[value].tolist())
        assert (some.best[i], some.worst[i]) == expected


def test_pairs_of_many_clips_have_the_places_of_their_rankings(store):
    clips, tracks = np.array([1, 3, 1, 2]), [4, 9, 55, 3]
    frames = {clip: store.scores.read_frame(1, clip).set_index("track_id") for clip in (1, 2, 3)}
    score, error = (
        np.array([frames[c].loc[t, name] for c, t in zip(clips, tracks, strict=True)], float)
        for name in ("score_norm", "std_error_norm")
    )
    found = store.scores.place_pairs(1, clips, score, error, np.array([t <= 40 for t in tracks]))
    for i, (clip, track) in enumerate(zip(clips.tolist(), tracks, strict=True)):
        ranking = rank_clip(store, 1, clip, NORMALISED)
        row = ranking.index(track)
        assert (found.best[i], found.worst[i]) == (ranking.intervals.best[row], ranking.intervals.worst[row])
