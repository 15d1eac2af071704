"""Ratings against scores, controls and each other; anchors; pictures; tables to hand out."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree

import duckdb
import numpy as np
import pandas as pd
import pytest

from explorer.listening_sessions import export, pictures, results
from explorer.listening_sessions.records import RatingFrames, Session

stats = pytest.importorskip("scipy.stats")
QUESTIONS = ("overall", "melody")


def session(title="Thursday", questions=QUESTIONS):
    return Session(1, "code", title, "open", True, questions, "", {}, "", "")


def frames(listeners, rating, clips=4, note="", nickname="n{}", title="Thursday", label="Unlearning"):
    """Per clip: three strongest (scores 5, 4, 3), two random, two decoys, a twin of the first, the clip itself.

    rating(listener, clip, role, score) -> 1..5, or None.
    """
    lanes, scores, ratings, notes = [], [], [], []
    lane_id = 0
    for clip in range(1, clips + 1):
        rows = [("top", 5.0), ("top", 4.0), ("top", 3.0), ("random", 0.4), ("random", 0.2)]
        for role, score in [*rows, ("decoy", 0.1), ("decoy", -0.3), ("duplicate", 5.0), ("match", None)]:
            lane_id += 1
            first = clip * 100 + 1
            track = None if role == "match" else first if role == "duplicate" else clip * 100 + lane_id % 9
            lanes.append((lane_id, clip, "a prompt", role, track, f"Track {track}", "Anon", 0.5))
            if score is not None:
                place = None if role == "decoy" else 1
                row = (lane_id, "unlearning", label, score / 1e6, score, 0.04, score > 4, place, role == "top")
                scores.append((*row, place, None if place is None else 3))
            for listener in range(listeners):
                value = rating(listener, clip, role, score)
                name = nickname.format(listener)
                if value is not None:
                    at = "2026-01-01T00:00:00.000+00:00"
                    ratings += [(listener, name, lane_id, question, value, at) for question in QUESTIONS]
                if note and listener == 0:
                    notes.append((listener, name, lane_id, note))
    names = "lane_id clip_id prompt role track_id title composer start_s"
    of_lanes = pd.DataFrame(lanes, columns=names.split()).astype({"track_id": "Int64"})
    names = "lane_id method label score score_norm q_value above_noise place chosen place_best place_worst"
    of_scores = pd.DataFrame(scores, columns=names.split())
    of_scores = of_scores.astype(dict.fromkeys(("place", "place_best", "place_worst"), "Int64"))
    of_ratings = pd.DataFrame(ratings, columns="listener_id nickname lane_id question value rated_at".split())
    of_notes = pd.DataFrame(notes, columns="listener_id nickname lane_id note".split())
    return RatingFrames(session(title), of_lanes, of_scores, of_ratings, of_notes)


def follows(listener, clip, role, score):
    """Ratings in the order of the scores; the clip itself highest."""
    return 5 if score is None else int(np.clip(round(score), 1, 5))


def at_random(seed):
    dice = np.random.default_rng(seed)
    return lambda *_: int(dice.integers(1, 6))


def test_ratings_that_follow_the_scores_are_found():
    found = results.summarise_ratings(frames(6, follows))
    assert (found["listeners"], found["clips"], found["pairs"], found["main"]) == (6, 4, 28, "overall")
    (method,) = found["methods"]
    overall = method["correlation"][0]
    score, rating = [5, 4, 3, 0.4, 0.2, 0.1, -0.3], [5, 4, 3, 1, 1, 1, 1]
    assert overall["rho"] == pytest.approx(stats.spearmanr(score, rating)[0])
    assert 0.5 < overall["low"] <= overall["high"] <= 1 and overall["clips"] == 4 and overall["pairs"] == 28
    for against in method["against"]:
        assert against["points"] == pytest.approx(3.0) and against["low"] > 1.5
        assert (against["pairs"], against["controls"]) == (12, 8)
    assert method["strongest"]["mean"] == pytest.approx(4.0)
    assert [group["mean"] for group in found["groups"]] == [1.0, 1.0]
    assert found["agreement"][0] == {"question": "overall", "alpha": pytest.approx(1.0), "listeners": 6, "pairs": 28}
    assert [(a["passed"], a["of"], a["rate"]) for a in found["anchors"]] == [(24, 24, 1.0), (24, 24, 1.0)]


def test_ratings_by_a_die_show_nothing():
    found = results.summarise_ratings(frames(8, at_random(1), clips=6))
    (method,) = found["methods"]
    for item in method["correlation"]:
        assert item["low"] < 0 < item["high"] and abs(item["rho"]) < 0.4
    for against in method["against"]:
        assert against["low"] < 0 < against["high"]
    assert abs(found["agreement"][0]["alpha"]) < 0.15
    for anchor in found["anchors"]:
        assert anchor["rate"] == pytest.approx(anchor["chance"], abs=0.2)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Scores without any relation to ratings: 0 lies inside at about 95 of 100, never far fewer."""
    inside = 0
    for seed in range(40):
        dice = np.random.default_rng(seed)
        values = dice.integers(1, 6, (6, 42)).astype(float)
        found = results.correlate_with_scores(values, dice.normal(size=42), np.repeat(np.arange(6), 7))
        inside += found["low"] <= 0 <= found["high"]
    assert inside >= 35


def test_one_clip_counts_as_one_however_its_scores_are_scaled():
    values = np.array([[1, 2, 3, 4, 3, 2, 1, 5.0]])
    score = np.array([1, 2, 3, 4, 1e3, 2e3, 3e3, 4e3])
    clip = np.array([1, 1, 1, 1, 2, 2, 2, 2])
    found = results.correlate_with_scores(values, score, clip)
    halves = [stats.spearmanr(values[0, part], score[part])[0] for part in (slice(0, 4), slice(4, 8))]
    assert found["rho"] == pytest.approx(np.mean(halves))
    assert results.correlate_with_scores(values, 7 * score - 1, clip)["rho"] == found["rho"]
    assert results.correlate_with_scores(values, -score, clip)["rho"] == -found["rho"]


def test_missing_answers_and_few_listeners_give_none_not_a_number():
    empty = results.summarise_ratings(frames(0, follows))
    assert empty["methods"][0]["correlation"][0]["rho"] is None and empty["agreement"][0]["alpha"] is None
    some = results.summarise_ratings(
        frames(3, lambda listener, clip, role, score: follows(0, 0, role, score) if listener == clip else None)
    )
    assert some["agreement"][0]["alpha"] is None and some["methods"][0]["correlation"][0]["clips"] == 2
    same = results.summarise_ratings(frames(3, lambda *_: 3))
    assert same["methods"][0]["correlation"][0]["rho"] is None and same["agreement"][0]["alpha"] is None
    for found in (empty, some, same):
        assert "NaN" not in json.dumps(found)
        assert all(ElementTree.fromstring(draw(found)) is not None for draw in pictures.DRAWN.values())


def test_alpha_is_krippendorffs():
    """The example with 4 observers, 12 units and missing values of Krippendorff (2011): ordinal alpha 0.815."""
    none = np.nan
    values = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, none, none, none],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, none, 3],
            [none, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, none],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, none],
        ]
    )
    assert results.measure_agreement(values)["alpha"] == pytest.approx(0.815, abs=5e-4)


def test_listeners_who_miss_their_anchors_can_be_left_out():
    def rating(listener, clip, role, score):
        if listener == 3:  # hears nothing: the clip itself gets 1, the twin of a 1 gets 5
            return {"match": 1, "duplicate": 5}.get(role, 1)
        return follows(listener, clip, role, score)

    everybody, reliable = (results.summarise_ratings(frames(4, rating), only) for only in (False, True))
    assert (everybody["counted"], reliable["counted"], everybody["reliable"]) == (4, 3, 3)
    assert everybody["by_listener"]["3"] == {"match": [0, 4], "duplicate": [0, 4]}
    assert reliable["agreement"][0]["alpha"] > everybody["agreement"][0]["alpha"]


def test_the_table_has_a_row_for_each_pair_of_each_listener():
    table = export.build_table(frames(3, follows, note="nice"))
    assert len(table) == 3 * 36 and list(table.columns[:9])[:3] == ["session", "blind", "listener"]
    first = table.iloc[0]
    assert (first["overall"], first["role"], first["note"], first["unlearning score_norm"]) == (5, "top", "nice", 5.0)
    assert (table["start_s"] == 0.5).all()
    assert str(table["overall"].dtype) == "Int64" and table["unlearning place"].isna().sum() == 3 * 3 * 4
    assert set(table["unlearning place_worst"].dropna()) == {3}
    only_note = frames(1, lambda *_: None, note="nothing rated")
    assert len(export.build_table(only_note)) == 36
    assert len(export.build_table(frames(0, follows))) == 0


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "\n=1", " =1", "＝1", '=HYPERLINK("http://evil")']


def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers():
    for text in FORMULAS:
        found = frames(2, follows, note=text, nickname=text + "{}", title=text)
        lines = list(
            csv.DictReader(io.StringIO(export.write_csv(export.build_table(found)).decode("utf-8-sig"), newline=""))
        )
        assert len(lines) == 72
        for line in lines:
            assert line["note"] in ("", "'" + text) and line["listener"].startswith("'" + text)
            assert line["session"] == "'" + text
            for name, cell in line.items():
                assert not name.startswith(tuple("=+-@\t\r"))
                if cell.startswith(tuple("=+-@\t\r\n＝")):
                    float(cell)  # a number below zero is no formula
        assert any(float(line["unlearning score_norm"] or 0) < 0 for line in lines)
    assert export.escape_cell(-1.5) == -1.5 and export.escape_cell("a-b") == "a-b" and export.escape_cell(None) == ""


def test_parquet_holds_the_same_with_types(tmp_path):
    table = export.build_table(frames(2, follows, note="=1+1"))
    path = tmp_path / "ratings.parquet"
    path.write_bytes(export.write_parquet(table))
    with duckdb.connect(":memory:") as con:
        rows = con.execute(f"SELECT count(*), sum(overall), min(note) FROM '{path}'").fetchone()
        kinds = dict(con.execute(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{path}')").fetchall())
    assert rows == (72, table["overall"].sum(), "=1+1")
    assert (kinds["overall"], kinds["unlearning score"], kinds["listener"]) == ("BIGINT", "DOUBLE", "VARCHAR")
    assert kinds["unlearning above_noise"] == "BOOLEAN"


def test_pictures_are_whole_and_hold_texts_as_texts():
    found = results.summarise_ratings(frames(5, at_random(2), label='<script>alert(1)</script> & "more"'))
    for name, draw in pictures.DRAWN.items():
        root = ElementTree.fromstring(draw(found))
        assert not root.findall(".//{*}script"), name
        assert len(list(root)) > 8
    texts = "".join(ElementTree.fromstring(pictures.draw_scatter(found)).itertext())
    assert "<script>" in texts and "nan" not in texts
