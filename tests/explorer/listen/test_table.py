"""Rows of the table: those that match a query, and the words in each."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from explorer.listen import table
from explorer.listen.table import TablePage
from explorer.state.queries import TableQuery
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, rank_clip, rank_span
from explorer.store.records import TrackRecord
from explorer.text.tracks import ABOVE_TEXT, DECOY_TEXT, NOISE_TEXT

ASKED = {
    "text": "waltz",
    "collection": "Mutopia",
    "above": True,
    "decoys": False,
    "sort": "title",
    "descending": True,
    "offset": 200,
}


def track(track_id: int, **other: object) -> TrackRecord:
    fields = {"is_decoy": False, "planted": None, "title": f"t{track_id}", "composer": "c", "collection": "k"}
    fields |= {"rights_holder": "r", "licence": "l", "source": "s", "instrument": "piano", "duration_s": 6.66}
    fields |= {"audition": "full", "has_audio": True}
    return TrackRecord(track_id=track_id, **{**fields, **other})  # type: ignore[arg-type]


def small() -> Ranking:
    """Tracks 11..15, decoys 21 and 22, strongest first."""
    ids = np.array([21, 11, 12, 22, 13, 14, 15], dtype=np.int32)
    q = np.array([0.5, 0.004, 0.08, 0.1049, 0.3, 0.0001, 1.0])
    above = np.array([True, True, True, False, False, False, False])
    return Ranking(ids, ids > 20, np.array([3.0, 2.5, 1.2, 1.0, 0.4, -0.001, -2.0]), q, above)


def rows(ranking: Ranking, ids: list[int]) -> pd.DataFrame:
    at = [int(np.flatnonzero(ranking.track_id == i)[0]) for i in ids]
    return pd.DataFrame(
        {
            "track_id": ids,
            "is_decoy": ranking.is_decoy[at],
            "score": ranking.value[at] * 1e-6,
            "std_error": 1e-7,
            "score_norm": ranking.value[at],
            "std_error_norm": 0.12,
            "above_noise": ranking.above_noise[at],
        }
    )


def describe(scores, tracks, ranking: Ranking, span: Span | None = None) -> dict:
    """The table over one page without a filter."""
    page = TablePage(scores, tracks, len(scores))
    return table.describe_table(page, ranking, TableQuery(), [], span)


def test_a_page_past_the_end_becomes_the_last_one():
    for total, offset in ((0, 0), (1, 0), (100, 0), (101, 100), (365, 300), (1000, 500)):
        assert TableQuery(offset=500).within(total).offset == offset
    query = TableQuery(offset=100)
    assert table.select_page(np.arange(365), query).tolist() == list(range(100, 200))
    assert table.select_page(np.arange(365), TableQuery(offset=300)).tolist() == list(range(300, 365))


def naive(ranking: Ranking, query: TableQuery, found: list[int] | None) -> list[int]:
    ids = ranking.track_id.tolist()
    listed = ids if found is None else [i for i in (ids if query.by is None else found) if i in ids and i in found]
    kept = []
    for track_id in listed:
        at = ids.index(track_id)
        if (query.decoys or not ranking.is_decoy[at]) and (not query.above or ranking.above_noise[at]):
            kept.append(at)
    return kept[::-1] if query.descending else kept


@pytest.mark.parametrize("seed", range(20))
def test_matching_against_a_naive_filter(seed):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(1, 61)).astype(np.int32)
    made = Ranking(ids, ids > 40, -np.arange(60.0), np.ones(60), rng.random(60) < 0.4)
    found = rng.permutation(np.arange(1, 81))[: rng.integers(0, 70)].astype(np.int32)  # 61..80 were not scored
    seen = set()
    for above in (False, True):
        for decoys in (False, True):
            for sort, descending in (("place", False), ("place", True), ("title", False), ("title", True)):
                query = TableQuery("x", None, above, decoys, sort, descending)
                assert table.choose_rows(made, query, found).tolist() == naive(made, query, found.tolist())
                plain = TableQuery("", None, above, decoys, "place", descending)
                assert table.choose_rows(made, plain, None).tolist() == naive(made, plain, None)
                seen.add(tuple(table.choose_rows(made, plain, None).tolist()))
    assert len(seen) == 8  # each choice changes what is listed


def test_matching_nothing_and_no_scores():
    assert table.choose_rows(small(), TableQuery("x"), np.array([], dtype=np.int32)).tolist() == []
    assert table.choose_rows(small(), TableQuery(sort="title"), np.array([99], dtype=np.int32)).tolist() == []
    none = Ranking(np.array([], np.int32), np.array([], bool), np.array([]), np.array([]), np.array([], bool))
    assert table.choose_rows(none, TableQuery(sort="title"), np.array([1, 2], dtype=np.int32)).tolist() == []
    made = describe(rows(none, []), {}, none)
    assert made["rows"] == [] and made["of"] == 0


def test_rows_say_place_kind_and_numbers():
    ranking, ids = small(), [21, 11, 12, 22, 13, 14, 15]
    query = TableQuery(decoys=True)
    tracks = {i: track(i, planted="rare" if i == 12 else None) for i in ids}
    made = table.describe_table(
        TablePage(rows(ranking, ids), tracks, 7, refusals={13: "no audio"}), ranking, query, ["k"], selected=11
    )
    shown = {row["track_id"]: row for row in made["rows"]}
    assert [row["track_id"] for row in made["rows"]] == ids
    # A decoy takes the place that a track of its score would.
    assert [row["place"] for row in made["rows"]] == ["(1)", "1", "2", "(3)", "3", "4", "5"]
    assert [row["kind"] for row in made["rows"]] == ["decoy", "above", "above", "decoy", "noise", "noise", "noise"]
    assert [shown[i]["badge"] for i in (21, 11, 13)] == [DECOY_TEXT, ABOVE_TEXT, NOISE_TEXT]
    assert shown[11]["norm"] == "2.50 ± 0.12" and shown[11]["raw"] == "2.50 ± 0.10"
    assert shown[15]["norm"] == "−2.00 ± 0.12" and shown[14]["norm"] == "0.00 ± 0.12"
    assert made["headings"]["raw"].endswith("\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}10⁻⁶")
    assert [row["q"] for row in made["rows"]] == ["0.50", "0.004", "0.08", "0.105", "0.30", "< 0.001", "1.00"]
    assert shown[12]["planted"] == "rare" and "planted" not in shown[11]
    assert (shown[13]["playable"], shown[13]["why"]) == (False, "no audio")
    assert shown[11]["playable"] and "why" not in shown[11] and "span" not in shown[11]
    assert shown[11]["duration"] == "6.7 s"
    assert (made["total"], made["of"], made["limit"], made["offset"], made["selected"]) == (7, 7, 100, 0, 11)
    assert TableQuery.of_event(made["asked"]) == query and made["span"] is None and made["collections"] == ["k"]


def test_what_goes_to_the_browser_is_lean_and_holds_the_same():
    ranking, ids = small(), [11, 12, 13, 14]
    tracks = {i: track(i, planted="rare" if i == 12 else None) for i in ids}
    told = {11: "A (composer) · B (label)", 14: "A (composer) · B (label)"}
    made = table.describe_table(
        TablePage(rows(ranking, ids), tracks, 4, refusals={13: "no audio"}, people=told), ranking, TableQuery(), []
    )
    lean = table.compact_rows(made)
    back = [
        {
            name: lean["texts"][value] if name in lean["shared"] else value
            for name, value in zip(lean["columns"], row, strict=True)
            if value is not None
        }
        for row in lean["rows"]
    ]
    assert back == made["rows"] and back[0]["holders"] == told[11] and "holders" not in back[1]
    assert len(set(lean["texts"])) == len(lean["texts"]) and {**lean, "rows": made["rows"]}.items() >= made.items()
    assert table.compact_rows({**made, "rows": []})["rows"] == []


def test_a_span_has_its_own_value_and_q():
    ranking = small()
    made = describe(rows(ranking, [11, 15]), {11: track(11), 15: track(15)}, ranking, Span(3, 4, 1.0))
    assert [row["span"] for row in made["rows"]] == ["2.50", "−2.00"]
    assert made["span"] == "2.0–4.0 s" and made["headings"]["q"] == "q in this span"
    assert made["headings"]["badge"] == "in the whole clip"


def test_a_row_that_nobody_knows_is_left_out():
    ranking = small()
    listed = rows(ranking, [11, 12])
    made = describe(listed.assign(track_id=[11, 999]), {11: track(11), 999: track(999)}, ranking)
    assert [row["track_id"] for row in made["rows"]] == [11]
    assert describe(listed, {12: track(12)}, ranking)["rows"][0]["track_id"] == 12


def test_a_full_page_of_long_texts_stays_small():
    ids = np.arange(1, 101, dtype=np.int32)
    ranking = Ranking(ids, ids > 100, -ids.astype(float), np.ones(100), ids > 100)
    long = "x" * 5000
    tracks = {int(i): track(int(i), title=long, composer=long, licence=long, source=long) for i in ids}
    made = describe(rows(ranking, ids.tolist()), tracks, ranking)
    assert len(made["rows"]) == 100 and len(json.dumps(made, allow_nan=False)) < 150_000
    assert len(made["rows"][0]["licence"]) == 400  # three licences with their labels


@pytest.mark.parametrize("order", [NORMALISED, RAW])
def test_pages_of_a_store(store, made, order):
    """Through the real queries: every row is where the ranking has it, and the columns sort as they read."""
    ranking = rank_clip(store, 1, 1, order)
    for query in (
        TableQuery(),
        TableQuery(decoys=True),
        TableQuery("étude no"),
        TableQuery(collection="Musopen", sort="composer"),
    ):
        found = store.tracks.find(query.text, query.collection, query.by) if query.finds else None
        indices = table.choose_rows(ranking, query, found)
        ids = [int(i) for i in ranking.track_id[table.select_page(indices, query)]]
        tracks = store.tracks.read_many(ids)
        page = TablePage(store.scores.read_rows(1, 1, ids), tracks, len(indices))
        shown = table.describe_table(page, ranking, query, store.tracks.list_collections())["rows"]
        assert shown and [row["track_id"] for row in shown] == ids
        for row in shown:
            at = ranking.index(row["track_id"])
            assert row["place"].strip("()") == str(ranking.place[at])
            assert (row["kind"] == "decoy") == (row["track_id"] > made.TRACKS) == row["place"].startswith("(")
        assert all(query.decoys or row["kind"] != "decoy" for row in shown)
        if query.by:
            assert [row["composer"] for row in shown] == sorted(row["composer"] for row in shown)
        if query.text:
            assert all("tude" in row["title"] for row in shown)
    above = table.choose_rows(ranking, TableQuery(above=True), None)
    assert sorted(ranking.track_id[above].tolist()) == [1, 2, 4, 17]


def test_a_span_of_a_store(store, made):
    span = Span(3, 3, 0.5)
    ranking = rank_span(store, 1, 1, span)
    ids = ranking.first(3)
    shown = describe(store.scores.read_rows(1, 1, ids), store.tracks.read_many(ids), ranking, span)["rows"]
    assert shown[0]["track_id"] == made.SPAN_TRACK and shown[0]["place"] == "1"
    assert float(shown[0]["span"]) > float(shown[1]["span"])


def test_sorted_by_a_number_least_first_and_back():
    ranked = small()
    key = np.arange(len(ranked.track_id), dtype=float)[::-1]
    rows = table.choose_rows(ranked, TableQuery(decoys=True, sort="error"), None, key)
    assert key[rows].tolist() == sorted(key.tolist())
    back = table.choose_rows(ranked, TableQuery(decoys=True, sort="error", descending=True), None, key)
    assert back.tolist() == rows[::-1].tolist()


def test_places_by_another_score_count_training_tracks_above():
    values = np.array([5.0, 4.0, 4.0, 1.0, 9.0])
    decoy = np.array([False, False, True, False, True])
    assert table.find_places(values, values, decoy).tolist() == [1, 2, 2, 3, 1]


def test_one_row_a_work_is_its_first_rendering():
    ranked = small()
    work = np.arange(len(ranked.track_id)) // 2
    rows = table.choose_rows(ranked, TableQuery(decoys=True, works=True), None, None, work)
    assert rows.tolist() == list(range(0, len(work), 2))
    told = table.find_renderings(ranked, work, rows, decoys=True)
    assert told[int(ranked.track_id[0])] == ranked.place[:2].tolist()
    alone = table.find_renderings(ranked, np.arange(len(work)), rows, decoys=True)
    assert alone == {}
