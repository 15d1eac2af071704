"""Hard cases: each list against its definition, on tables made by hand and on the store."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from explorer.methods import hard_cases
from explorer.state.queries import CaseQuery
from explorer.store import Store
from explorer.store.records import ScoreSample


def top(*rows: dict) -> pd.DataFrame:
    usual = {
        "clip_id": 1,
        "track_id": 1,
        "is_decoy": False,
        "rank": 1,
        "train_rank": 1,
        "score": 1e-6,
        "score_norm": 2.0,
        "std_error_norm": 0.1,
        "match_bin": 2,
        "p_value": 0.05,
        "q_value": 0.5,
        "above_noise": False,
        "title": "Waltz",
        "composer": "Chopin",
        "collection": "Mutopia",
        "planted": None,
        "duration_s": 5.0,
        "loudness_lufs": -20.0,
        "has_audio": True,
        "clip_kind": "generated",
        "target_track_id": pd.NA,
        "run_id": 1,
    }
    frame = pd.DataFrame([{**usual, **row} for row in rows])
    return frame.astype({"train_rank": "Int64", "target_track_id": "Int64", "loudness_lufs": float})


def test_a_hub_is_high_for_more_than_one_generated_clip():
    frame = top(
        {"clip_id": 1, "track_id": 7, "train_rank": 3, "score_norm": 1.0},
        {"clip_id": 2, "track_id": 7, "train_rank": 1, "score_norm": 3.0, "q_value": 0.1, "above_noise": True},
        {"clip_id": 3, "track_id": 7, "train_rank": 11},
        {"clip_id": 1, "track_id": 8, "train_rank": 1},
        {"clip_id": 4, "track_id": 8, "train_rank": 1, "clip_kind": "track"},  # a control finds itself: no hub
        {"clip_id": 5, "track_id": 8, "train_rank": 1, "run_id": 2},  # a clip of a tuned model is no clip of run 1
        {"clip_id": 1, "track_id": 9, "is_decoy": True, "train_rank": pd.NA},
        {"clip_id": 2, "track_id": 9, "is_decoy": True, "train_rank": pd.NA},
    )
    found = hard_cases.find_hubs(frame, 10)
    assert found["track_id"].tolist() == [7]
    row = found.iloc[0]
    assert (row["clips"], row["of"], row["best_rank"], row["best_clip"], row["mean_norm"]) == (2, 3, 1, 2, 2.0)
    assert (row["q_value"], bool(row["above_noise"])) == (0.1, True)  # of its best clip
    assert hard_cases.find_hubs(frame, 40).iloc[0]["clips"] == 3
    frame.loc[(frame["clip_id"] == 2) & (frame["track_id"] == 7), ["p_value", "q_value"]] = np.nan
    assert np.isnan(hard_cases.find_hubs(frame, 10).iloc[0]["q_value"])  # not that of another clip


def test_decoys_are_listed_from_the_highest():
    frame = top(
        {"track_id": 50, "is_decoy": True, "rank": 4, "train_rank": pd.NA},
        {"track_id": 51, "is_decoy": True, "rank": 2, "train_rank": pd.NA, "clip_id": 2},
        {"track_id": 52, "is_decoy": True, "rank": 11, "train_rank": pd.NA},
        {"track_id": 1, "rank": 1},
    )
    assert hard_cases.find_decoys(frame, 10)["track_id"].tolist() == [51, 50]


def test_silence_without_loudness_counts_as_quiet_and_missing_audio_does_not():
    frame = top(
        {"track_id": 1, "loudness_lufs": -41.0},
        {"track_id": 2, "loudness_lufs": np.nan},
        {"track_id": 3, "loudness_lufs": np.nan, "has_audio": False},
        {"track_id": 4, "loudness_lufs": -39.0},
        {"track_id": 5, "loudness_lufs": -60.0, "train_rank": 11},
    )
    assert hard_cases.find_quiet(frame, 10)["track_id"].tolist() == [2, 1]
    assert hard_cases.find_quiet(frame, 40, below_lufs=-50)["track_id"].tolist() == [2, 5]


def test_short_is_short_against_the_usual_length():
    frame = top(
        {"track_id": 1, "duration_s": 1.2}, {"track_id": 2, "duration_s": 1.0}, {"track_id": 3, "duration_s": 2.5}
    )
    assert hard_cases.find_short(frame, usual_s=5.0)["track_id"].tolist() == [2, 1]
    assert hard_cases.find_short(frame, usual_s=0.0).empty


def sample(*rows: list[float], clips: tuple[int, ...] = (1, 2)) -> ScoreSample:
    return ScoreSample(np.array(clips), np.arange(len(rows[0])), np.array(rows, dtype=float))


def test_disagreement_is_the_mean_over_all_pairs_of_methods():
    up, down = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]
    samples = {1: sample(up, up), 2: sample(up, down), 3: sample(up, up)}
    tops = {
        m: top(*({"clip_id": c, "track_id": t, "train_rank": t} for c in (1, 2) for t in (1, 2))) for m in (1, 2)
    } | {3: top({"clip_id": 1, "track_id": 1}, {"clip_id": 2, "track_id": 9})}
    found = hard_cases.find_disagreements(tops, samples, 10)
    assert found["clip_id"].tolist() == [2, 1]
    assert found["spearman"].tolist() == pytest.approx([-1 / 3, 1.0])
    assert found["overlap"].tolist() == pytest.approx([1 / 3, 1.0])
    assert hard_cases.find_disagreements({1: tops[1]}, {1: samples[1]}).empty


def test_words_of_a_filter_all_count():
    frame = top({"title": "Élan (slow)"}, {"title": "slow air"}, {"title": "reel", "composer": None})
    columns = ["title", "composer"]
    assert hard_cases.filter_rows(frame, "SLOW", columns)["title"].tolist() == ["Élan (slow)", "slow air"]
    assert hard_cases.filter_rows(frame, "air slow", columns)["title"].tolist() == ["slow air"]
    assert hard_cases.filter_rows(frame, "(", columns)["title"].tolist() == ["Élan (slow)"]  # no pattern
    assert len(hard_cases.filter_rows(frame, "  ", columns)) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "all"},
        {"first": 7},
        {"first": True},
        {"text": "x" * 201},
        {"text": "\ud800"},
        {"text": 1},
        {"offset": 7},
        {"offset": -50},
        {"offset": 1e9},
        {"rows": 1},
        None,
    ],
)
def test_a_senseless_question_is_refused(asked):
    with pytest.raises(ValueError):
        CaseQuery.of_event(asked)


def test_top_is_what_scores_say(store: Store):
    for method_id in (1, 2):
        found = store.scores.read_top(method_id, 12)
        for clip_id in (1, 2, 3, 101, 102):
            every = store.scores.read_frame(method_id, clip_id)
            expected = every[(every["rank"] <= 12) | (every["train_rank"] <= 12).fillna(False)]
            here = found[found["clip_id"] == clip_id]
            assert here["track_id"].tolist() == expected["track_id"].tolist()
            assert here["score_norm"].tolist() == expected["score_norm"].tolist()
            assert here["is_decoy"].tolist() == expected["is_decoy"].tolist()
    assert set(found.loc[found["clip_id"] == 101, "target_track_id"]) == {1}


def test_a_sample_is_the_same_tracks_for_every_method(store: Store):
    whole, few = store.scores.read_sample(1), store.scores.read_sample(1, tracks=10)
    assert whole.value.shape == (5, 40) and few.value.shape == (5, 10)
    assert np.array_equal(few.track_id, store.scores.read_sample(2, tracks=10).track_id)
    scores = store.scores.read_frame(1, 3).set_index("track_id")["score_norm"]
    assert few.value[2].tolist() == scores[few.track_id].tolist()


def test_lengths_works_and_facts_of_the_store(store: Store, made):
    ids, seconds = store.tracks.read_durations()
    assert ids.tolist() == list(range(1, 81)) and seconds[made.EXCERPT - 1] == made.LONG_EXCERPT_S
    assert len(set(store.tracks.read_works()[1])) == 79 and store.tracks.count_training() == 40
    assert store.tracks.read_usual_duration() == 3.0
    assert [one.name for one in store.runs.list_methods()] == ["unlearning", "cosine"]
    assert store.runs.list_skipped()[0].reason == made.SKIPPED
    assert {(a.method_a, a.method_b): a.spearman for a in store.runs.list_agreement()} == {(1, 2): 0.32, (2, 1): 0.32}
    assert store.resemblance.read_aspects(1, [1, 2]) == {
        1: {"melody": 97.0, "harmony": 88.5, "rhythm": 41.0, "timbre": 12.0}
    }
    assert [one.number for one in store.resemblance.read_passages(1, [1, 17])[1]] == [
        1,
        2,
    ] and store.resemblance.read_passages(2, [1]) == {}
    parts = store.scores.read_parts(1, 1, [1])[1]
    score = store.scores.read_frame(1, 1).set_index("track_id")["score"][1]
    assert [part.t_low for part in parts] == [0, 0.25, 0.5, 0.75]
    assert sum(part.score for part in parts) / 4 == pytest.approx(score)
    assert store.resemblance.has_aspects() and store.runs.read_latest().device == "cpu"
    assert store.tracks.read_loudness([1, 999]) == {1: -29.0}
    assert store.resemblance.has_passages() and store.scores.has_parts()
