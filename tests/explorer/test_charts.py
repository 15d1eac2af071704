"""What the curve draws, what the sentences say, what the table lists."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from explorer import charts, table
from explorer.store import Track


def frame(train: list[float], decoys: list[float] = (), above: int = 0, raw: list[float] | None = None) -> pd.DataFrame:
    """Scores of a clip; the `above` strongest training tracks are above noise."""
    norm = np.array([*train, *decoys], dtype=float)
    is_decoy = np.arange(norm.size) >= len(train)
    scores = pd.DataFrame({"track_id": np.arange(1, norm.size + 1), "is_decoy": is_decoy, "score_norm": norm})
    scores["score"] = norm * 1e-6 if raw is None else raw
    scores["std_error"] = 1e-7
    scores["std_error_norm"] = 0.3
    scores["q_value"] = 0.5
    scores["rank"] = scores["score_norm"].rank(ascending=False, method="first").astype(int)
    scores["raw_rank"] = scores["score"].rank(ascending=False, method="first").astype(int)
    train_rank = scores["score_norm"].where(~is_decoy).rank(ascending=False, method="first")
    scores["train_rank"] = train_rank.astype("Int64")
    scores["above_noise"] = (scores["train_rank"] <= above).fillna(False).astype(bool)
    return scores.sort_values("rank")


def test_sampled_places():
    assert charts.sampled_places(0).tolist() == []
    assert charts.sampled_places(7).tolist() == list(range(1, 8))
    places = charts.sampled_places(115_000)
    assert places[:100].tolist() == list(range(1, 101))
    assert places[-1] == 115_000 and 450 < places.size <= 500


def test_share_counts_positive_training_scores_only():
    scores = frame([3.0, 1.0, -2.0], decoys=[5.0])
    assert charts.cumulative_share(scores, charts.NORMALISED).tolist() == [0.0, 0.75, 1.0, 1.0]
    assert np.isnan(charts.cumulative_share(frame([-1.0, -2.0]), charts.NORMALISED)).all()


def test_curve_is_small_finite_json_and_holds_the_chosen_track():
    rng = np.random.default_rng(1)
    scores = frame(list(rng.normal(size=20_000)), list(rng.normal(size=20_000)), above=3)
    far = int(scores[scores["rank"] == 31_234]["track_id"].iloc[0])
    drawn = charts.curve(scores, charts.RAW, selected=far)
    assert far in drawn["track"]
    text = json.dumps(drawn, allow_nan=False)
    assert len(text) < 50_000
    assert drawn["count"] == 40_000
    assert drawn["place"] == sorted(drawn["place"])
    assert len({len(drawn[key]) for key in ("place", "value", "track", "kind", "share", "title")}) == 1


def test_curve_marks_kinds():
    drawn = charts.curve(frame([3.0, 1.0], decoys=[2.0], above=1), charts.NORMALISED, {1: "a" * 500})
    assert drawn["kind"] == [charts.ABOVE, charts.DECOY, charts.NOISE]
    assert len(drawn["title"][0]) < 100


def test_raw_order_puts_decoys_where_they_are():
    scores = frame([3.0, 2.0], decoys=[-1.0], raw=[1e-6, 2e-6, 9e-6])
    assert charts.curve(scores, charts.RAW)["track"] == [3, 2, 1]
    assert charts.curve(scores, charts.RAW)["unit"] == "raw influence score (\N{MULTIPLICATION SIGN} 10⁻⁶)"
    assert charts.curve(scores, charts.NORMALISED)["track"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((0.0, "0 %"), (0.0004, "less than 0.1 %"), (0.032, "3.2 %"), (0.41, "41 %"), (0.0996, "10 %")),
        *((0.994, "more than 99 %"), (0.99, "99 %"), (1.0, "100 %")),
    ],
)
def test_percent(share, text):
    assert charts.percent(share) == text


def test_verdict_words():
    assert charts.verdict(frame([1.0] * 5, above=0)).startswith("Nothing is above noise for this clip")
    assert charts.verdict(frame([1.0] * 5, above=1)) == (
        "1 of 5 training tracks is above noise; the other 4 are not distinguishable from it."
    )
    assert charts.verdict(frame([2.0, 1.0], above=1)).endswith("the other 1 is not distinguishable from it.")
    assert charts.verdict(frame([2.0], above=1)) == "1 of 1 training track is above noise."
    assert charts.verdict(frame([], decoys=[1.0])) == "This method did not score this clip."


def test_summary_words():
    scores = frame([4.0, 1.0, 1.0, 1.0, 1.0], decoys=[-1.0] * 5, raw=[1, 2, 3, 4, 5, 6, 7, 0, 0, 0])
    assert charts.summary(scores, charts.NORMALISED, first=1) == (
        "The first of 5 tracks holds 50 % of the positive normalised score; 5 of the best 10 by raw score "
        "were never heard by the model, 5 by normalised score (5 by chance)."
    )
    assert charts.summary(frame([1.0]), charts.NORMALISED) == (
        "The first of 1 track holds 100 % of the positive normalised score."
    )
    assert charts.summary(frame([-1.0, -2.0]), charts.RAW) == "No training track has a positive raw score."
    assert charts.summary(frame([]), charts.RAW) == ""
    one = frame([float(i) for i in range(30)], decoys=[29.5])
    assert "1 of the best 10 by raw score was never heard" in charts.summary(one, charts.RAW)


def test_nothing_is_said_to_be_owed(store):
    for clip_id in (1, 2, 3, 101):
        scores = store.scores(1, clip_id)
        assert "owed" not in charts.summary(scores, charts.RAW) + charts.verdict(scores)


def test_control_says_where_it_finds_itself():
    text = charts.control(frame([3.0, 2.0], raw=[1e-6, 2e-6]), 1, "Waltz")
    assert "should find itself first" in text
    assert text.endswith("It is number 1 of 2 by normalised score, 2 by raw score.")
    assert charts.control(frame([3.0]), 77, "Waltz").endswith("It was not scored.")


def test_power_text():
    assert charts.power_text(-7) == " \N{MULTIPLICATION SIGN} 10⁻⁷"
    assert charts.power_text(charts.power_of_ten(pd.Series([3.0, -20.0]))) == ""
    assert charts.power_of_ten(pd.Series([0.0])) == 0 == charts.power_of_ten(pd.Series([], dtype=float))
    assert charts.power_of_ten(pd.Series([-4.2e-7, 1e-9])) == -7


def tracks(scores: pd.DataFrame) -> dict[int, Track]:
    return {int(i): Track(int(i), False, f"t{i}", "c", "k", "l / m") for i in scores["track_id"]}


def test_table_shows_training_tracks_by_train_rank():
    scores = frame([3.0, 1.0, 2.0], decoys=[9.0, 0.5], above=1)
    rows = table.top(scores, charts.NORMALISED, decoys=False)
    assert rows["place"].tolist() == rows["train_rank"].tolist() == [1, 2, 3]
    made = table.table(rows, tracks(scores))
    assert [row[-1] for row in made["data"]] == [1, 3, 2]
    assert [row[6] for row in made["data"]] == [table.ABOVE_TEXT, table.NOISE_TEXT, table.NOISE_TEXT]
    assert made["metadata"]["display_value"][0][5] == "3.00 ± 0.10"
    assert made["headers"][5] == "raw score ± error \N{MULTIPLICATION SIGN} 10⁻⁶"
    assert made["metadata"]["styling"][0][0] == "" != made["metadata"]["styling"][1][0]


def test_table_marks_decoys_where_asked():
    scores = frame([3.0, 1.0], decoys=[9.0])
    made = table.table(table.top(scores, charts.NORMALISED, decoys=True), tracks(scores))
    assert [row[6] for row in made["data"]] == [table.DECOY_TEXT, table.NOISE_TEXT, table.NOISE_TEXT]


def test_table_stops_at_its_length():
    scores = frame([float(i) for i in range(500)])
    assert len(table.top(scores, charts.RAW, decoys=True)) == table.ROWS
    assert table.table(table.top(frame([]), charts.RAW, True), {})["data"] == []
