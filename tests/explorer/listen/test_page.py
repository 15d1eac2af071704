"""The values that a view shows: plain values, small, honest, and without a path of the server."""

from __future__ import annotations

import json
from dataclasses import replace

import duckdb
import pytest

from explorer.listen.page import ListenPage
from explorer.state.store_views import StoreViews
from explorer.store import Store
from explorer.store.ranking import NORMALISED, RAW, rank_clip
from explorer.text.clips import label_clip
from explorer.text.tracks import note_track, word_place

PARTS = (
    "describe_verdict",
    "describe_player",
    "describe_summary",
    "describe_curve",
    "describe_table",
    "describe_resemblance",
    "describe_overview",
    "describe_about",
)


@pytest.fixture
def views(store) -> StoreViews:
    return StoreViews(store)


@pytest.fixture
def page(views) -> ListenPage:
    return ListenPage(views)


@pytest.mark.parametrize(
    "query", ["", "clip=2&scores=raw&decoys=1", "clip=3", "clip=101", "clip=1&span=1.0-1.5", "lanes=none"]
)
def test_every_part_is_plain_and_small(page, views, query):
    view = views.read_query(query)
    for part in PARTS:
        # allow_nan: a browser's JSON has no NaN
        assert len(json.dumps(getattr(page, part)(view), allow_nan=False)) < 50_000, part


def test_no_path_leaves_the_server(page, views, store_path):
    for query in ("lanes=4,5,6,7,8,9,10&decoys=1", "clip=101"):
        text = json.dumps([getattr(page, part)(views.read_query(query)) for part in PARTS])
        assert str(store_path.parent) not in text and "secret" not in text and ".wav" not in text


def test_noise_is_said_first(page, views):
    view = views.read_query("clip=3")
    assert page.describe_verdict(view)[0].startswith("Nothing is above noise")
    assert {lane["chip"] for lane in page.describe_player(view)["tracks"]} <= {"noise", "untested"}


def test_control_clip_is_explained(page, views):
    view = views.read_query("clip=101")
    assert (
        "unlearned itself" in page.describe_verdict(view)[0]
        and "Its place is 1 of 40" in page.describe_verdict(view)[0]
    )
    assert page.describe_player(view)["clip"]["note"].startswith("control: a training track unlearned itself")


def test_a_span_is_named_and_ranks(page, views, made):
    view = views.read_query("clip=1&span=1.0-1.5")
    said = page.describe_verdict(view)
    assert said[0] == "In 1.0–1.5 s: cannot tell, too few decoys; this order is no evidence."
    assert said[1].startswith("Too few decoys") and said[2].startswith("Of the whole clip: 4 of 18 candidates")
    player = page.describe_player(view)
    assert player["tracks"][0]["key"] == str(made.SPAN_TRACK)
    assert player["tracks"][0]["place"] == "place 1 of 40 in this span"
    assert player["span"] == {"from_s": 1.0, "to_s": 1.5} and player["window_s"] == 0.5
    assert page.describe_table(view)["rows"][0]["track_id"] == made.SPAN_TRACK


def test_lanes_say_who_stands_where(page, views):
    tracks = page.describe_player(views.read_query("lanes=1,60,30"))["tracks"]
    assert [lane["chip"] for lane in tracks] == ["above", "decoy", "untested"]
    assert [lane["chip_text"] for lane in tracks] == ["above noise", "decoy, never heard", "not tested"]
    assert [lane["model"] for lane in tracks] == [
        "shaped the model: above noise",
        None,
        "shaped the model: above noise",
    ]
    assert tracks[2]["q"] is None and tracks[0]["q"] == "q 0.04"
    assert tracks[0]["place"] == "place 1–2 of 40" and tracks[1]["place"].startswith("would be place ")
    raw = page.describe_player(views.read_query("lanes=1&scores=raw"))["tracks"]
    assert raw[0]["place"].endswith("of 40 by raw score")


def test_lanes_that_cannot_be_played_say_why(page, views, made):
    ids = (made.FORBIDDEN, made.MISSING, made.PATHLESS, made.ESCAPING, made.EXCERPT)
    view = views.read_query("lanes=" + ",".join(map(str, ids)))
    lanes = {int(lane["key"]): lane for lane in page.describe_player(view)["tracks"]}
    assert lanes[made.FORBIDDEN]["refused"] == "the rights holder does not allow listening"
    assert lanes[made.MISSING]["refused"] == "the audio file is missing"
    assert lanes[made.PATHLESS]["refused"] == "its audio is not part of this copy"
    assert lanes[made.ESCAPING]["refused"] == "the audio file lies outside its folder"
    assert lanes[made.EXCERPT]["refused"] is None and lanes[made.EXCERPT]["duration_s"] == 15.0


def test_loop_and_start_reach_the_player(page, views):
    player = page.describe_player(views.read_query("track=2&loop=2:0.5-1.5&start=moment"))
    assert player["loop"] == {"track_id": 2, "from_s": 0.5, "to_s": 1.5}
    assert (player["focus"], player["start"]) == (2, "moment")


def test_the_table_answers_what_was_asked(page, views):
    shown = page.describe_table(views.read_query("find=etude&decoys=1&sort=title"))
    assert shown["total"] == len(shown["rows"]) == 9
    assert all("tude" in row["title"] or "alert" in row["title"] for row in shown["rows"])
    assert page.describe_table(views.read_query("find=zzz"))["rows"] == []
    above = page.describe_table(views.read_query("clip=1&above=1"))
    assert {row["kind"] for row in above["rows"]} == {"above"} and above["total"] == 4


def test_findings_are_listed_along_training(page, views):
    lines = page.describe_about(views.read_address({}))
    (line,) = [text for text in lines if text.startswith("share of decoys among the best 10 by raw")]
    assert line.endswith(": 0.3 (step 100) → 0.92 (step 2,000)")


def test_a_clip_that_a_method_did_not_score_says_so(made, tmp_path):
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM scores WHERE method_id = 2 AND clip_id = 1")
        con.execute("DELETE FROM summaries WHERE method_id = 2 AND clip_id = 1")
    views = StoreViews(Store(path))
    page, view = ListenPage(views), views.read_query("method=cosine&clip=1")
    assert page.describe_verdict(view) == ["This method did not score this clip."]
    player = page.describe_player(view)
    assert player["tracks"] == [] and player["focus"] is None and player["clip"]["url"] == "/audio/clip/1"
    assert page.describe_summary(view) == [] and page.describe_table(view)["rows"] == []
    json.dumps([page.describe_curve(view), page.describe_overview(view)], allow_nan=False)


def test_clip_labels_are_short(views):
    labels = [label_clip(clip) for clip in views.clips]
    assert labels[0].startswith("Generated clip 1 · slow piano waltz") and labels[3].startswith("Control 101 · ")
    assert max(map(len, labels)) < 120


def test_the_table_by_number_and_both_places(page, views, store):
    scores = store.scores.read_frame(1, 1)
    training = scores[~scores["is_decoy"]]
    for sort, column, up in (("raw", "score", False), ("error", "std_error_norm", True), ("q", "q_value", True)):
        rows = page.describe_table(views.read_query(f"clip=1&sort={sort}"))["rows"]
        values = training.set_index("track_id")[column][[row["track_id"] for row in rows]]
        known = values.dropna().tolist()
        assert known == sorted(known, reverse=not up), sort
        assert values.isna().tolist() == [False] * len(known) + [True] * (len(rows) - len(known))
    orders = {order: rank_clip(store, 1, 1, order) for order in (NORMALISED, RAW)}
    for row in page.describe_table(views.read_query("clip=1&decoys=1&scores=raw"))["rows"]:
        may = {order: word_place(ranking, ranking.index(row["track_id"])) for order, ranking in orders.items()}
        bare = {name: row[name].strip("()") for name in ("place", "raw_place", "norm_place")}
        assert bare == {"place": may[RAW], "raw_place": may[RAW], "norm_place": may[NORMALISED]}


def test_renderings_of_a_work_are_told_of_and_can_be_one_row(store_path, tmp_path):
    path = tmp_path / "works.duckdb"
    path.write_bytes(store_path.read_bytes())
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE tracks SET work_id = 'w1' WHERE track_id IN (1, 17, 60)")
    store = Store(path)
    page = ListenPage(StoreViews(store))
    rows = {row["track_id"]: row for row in page.describe_table(page.views.read_query("clip=1"))["rows"]}
    assert rows[1]["work"] == rows[17]["work"] == "2 renderings of this work: places 1–2, 3–4" and "work" not in rows[2]
    lanes = {lane["key"]: lane for lane in page.describe_player(page.views.read_query("clip=1&lanes=1,2,60"))["tracks"]}
    assert lanes["1"]["work"] == "one of 2 renderings of its work"
    weighted = replace(store.tracks.read_many([1])[1], planted="weighted")
    assert note_track(weighted, 2) == "one of 2 renderings of its work · planted case: weighted"
    assert (
        note_track(weighted, 1) == "planted case: weighted" and note_track(replace(weighted, planted=None), 1) is None
    )
    assert lanes["2"]["work"] is None and lanes["60"]["work"] is None  # a decoy is none of them
    assert all(lane["q"].startswith("q ") for lane in lanes.values() if lane["chip"] != "decoy")
    assert 17 not in {row["track_id"] for row in page.describe_table(page.views.read_query("clip=1&works=1"))["rows"]}
    store.close()
