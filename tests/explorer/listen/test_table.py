"""Rows of the table: those that match a query, and the words in each."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from explorer.listen import table
from explorer.listen.table import TablePage
from explorer.state.queries import TableQuery
from explorer.store.places import PlaceIntervals
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, rank_clip
from explorer.store.records import TrackClaim, TrackRecord
from explorer.store.spans import rank_span
from explorer.text.claims import ABOVE_TEXT, DECOY_TEXT, NOISE_TEXT, SCARCE_TEXT, UNTESTED_TEXT
from explorer.text.tracks import word_place
from support.rankings import make_ranking

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
    return make_ranking(ids, [3.0, 2.5, 1.2, 1.0, 0.4, -0.001, -2.0], ids > 20, above, q)


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
            "match_bin": ranking.match_bin[at],
            "p_value": ranking.p_value[at],
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
    made = make_ranking(ids, -np.arange(60.0), ids > 40, rng.random(60) < 0.4)
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
    none = make_ranking([], [], [], [])
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
    assert made["headings"]["badge"] == "shaped the whole clip?"


def test_a_row_that_nobody_knows_is_left_out():
    ranking = small()
    listed = rows(ranking, [11, 12])
    made = describe(listed.assign(track_id=[11, 999]), {11: track(11), 999: track(999)}, ranking)
    assert [row["track_id"] for row in made["rows"]] == [11]
    assert describe(listed, {12: track(12)}, ranking)["rows"][0]["track_id"] == 12


def test_a_full_page_of_long_texts_stays_small():
    ids = np.arange(1, 101, dtype=np.int32)
    ranking = make_ranking(ids, -ids.astype(float), ids > 100, ids > 100)
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
            assert row["place"].strip("()") == word_place(ranking, at)
            assert ranking.intervals.best[at] <= ranking.place[at] <= ranking.intervals.worst[at]
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


def test_rows_without_a_number_come_last_either_way():
    ranked = small()
    key = np.array([0.5, np.nan, 0.08, np.nan, 0.3, 0.1, 1.0])
    up = table.choose_rows(ranked, TableQuery(decoys=True, sort="q"), None, key)
    assert up.tolist() == [2, 5, 4, 0, 6, 1, 3]
    down = table.choose_rows(ranked, TableQuery(decoys=True, sort="q", descending=True), None, key)
    assert down.tolist() == [6, 0, 4, 5, 2, 1, 3]


def test_places_are_intervals_where_the_error_leaves_several():
    ranking = make_ranking(
        [11, 12, 21], [3.0, 2.0, 1.0], [False, False, True], [False] * 3, error=np.array([1.0, 0, 1])
    )
    by = PlaceIntervals(np.array([1, 2, 1]), np.array([2, 2, 3]))
    page = TablePage(rows(ranking, [11, 12, 21]), {i: track(i) for i in (11, 12, 21)}, 3, places=(by, by))
    shown = table.describe_table(page, ranking, TableQuery(decoys=True), [])["rows"]
    assert [row["place"] for row in shown] == ["1–2", "2", "(1–3)"]
    assert [row["norm_place"] for row in shown] == [row["raw_place"] for row in shown] == ["1–2", "2", "(1–3)"]


def claim(above: bool, clips_above: int = 0, hub: bool = False, q: float = 0.04) -> TrackClaim:
    return TrackClaim(1.0, q / 10, q, above, clips_above, 40, hub)


def test_both_claims_stand_apart():
    """Each of the four combinations, a hub, a decoy, and rows that were not tested."""
    ids = [11, 12, 13, 14, 15, 16, 21]
    bins = np.array([2, 2, 1, 1, 0, 2, 2])
    p = np.array([0.001, 0.001, 0.5, 0.5, np.nan, np.nan, 0.5])
    ranking = make_ranking(
        ids, np.arange(7.0)[::-1], np.array(ids) > 20, [1, 1, 0, 0, 0, 0, 0], p * 10, p_value=p, match_bin=bins
    )
    claims = {11: claim(True), 12: claim(False, q=0.9), 13: claim(True, 12, hub=True), 14: claim(False, q=0.9)}
    claims[21] = claim(False, q=float("nan"))
    page = TablePage(rows(ranking, ids), {i: track(i) for i in ids}, 7, claims=claims)
    made = table.describe_table(page, ranking, TableQuery(decoys=True), [])
    shown = {row["track_id"]: row for row in made["rows"]}
    assert made["headings"]["badge"] == "shaped this clip?" and made["headings"]["model"] == "shaped the model?"
    pair = {i: (row["kind"], row["badge"]) for i, row in shown.items()}
    assert pair[11] == pair[12] == ("above", ABOVE_TEXT) and pair[13] == pair[14] == ("noise", NOISE_TEXT)
    assert pair[15] == ("untested", UNTESTED_TEXT) and pair[16] == ("untested", SCARCE_TEXT)
    assert pair[21] == ("decoy", DECOY_TEXT)
    model = {i: (row["model_kind"], row["model"]) for i, row in shown.items()}
    assert model[11] == model[13] == ("above", ABOVE_TEXT) and model[12] == model[14] == ("noise", NOISE_TEXT)
    assert model[15] == model[21] == ("untested", "–")
    assert shown[13]["hub"] == "hub: above noise for 12 of 40 clips" and "hub" not in shown[11]
    assert shown[15]["q"] == shown[16]["q"] == "–"
    tuned = table.describe_table(TablePage(rows(ranking, ids), {}, 7, tuned=True), ranking, TableQuery(), [])
    assert tuned["headings"]["model"] == "shaped the first model?"


def test_one_row_a_work_is_its_first_rendering():
    ranked = small()
    work = np.arange(len(ranked.track_id)) // 2
    rows = table.choose_rows(ranked, TableQuery(decoys=True, works=True), None, None, work)
    assert rows.tolist() == list(range(0, len(work), 2))
    told = table.find_renderings(ranked, work, rows, decoys=True)
    assert told[int(ranked.track_id[0])] == [str(place) for place in ranked.place[:2]]
    alone = table.find_renderings(ranked, np.arange(len(work)), rows, decoys=True)
    assert alone == {}
