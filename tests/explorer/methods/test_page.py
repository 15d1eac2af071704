"""The tabs Compare and Where is it wrong: values are plain and small, empty states say what is missing."""

from __future__ import annotations

import json
import shutil

import duckdb
import numpy as np
import pytest

from explorer.examples import error_analysis
from explorer.listen.page import ListenPage
from explorer.methods import diagnostics
from explorer.methods.page import MethodsPage
from explorer.state.events import EventHandler
from explorer.state.store_views import StoreViews
from explorer.state.view import BadEventError
from explorer.store import Store
from explorer.store.records import Diagnostic, ScorePart
from explorer.text.hard_cases import word_hub_chance
from explorer.text.resemblance import NOT_MEASURED, PASSAGES_NOT_SEARCHED

PARTS = (
    "describe_comparison",
    "describe_heat_text",
    "describe_heat",
    "describe_methods",
    "describe_cases",
    "describe_diagnostics",
    "describe_notes",
)


@pytest.fixture
def views(store) -> StoreViews:
    return StoreViews(store)


@pytest.fixture
def page(views) -> MethodsPage:
    return MethodsPage(views)


@pytest.fixture
def changed(store_path, tmp_path):
    """changed(sql) -> the parts of a copy of the store in which `sql` was run."""
    opened = []

    def make(*statements: str) -> tuple[MethodsPage, StoreViews]:
        path = shutil.copy(store_path, tmp_path / f"{len(opened)}.duckdb")
        with duckdb.connect(str(path)) as con:
            for sql in statements:
                con.execute(sql)
        opened.append(Store(path))
        return MethodsPage(StoreViews(opened[-1])), StoreViews(opened[-1])

    yield make
    for store in opened:
        store.close()


@pytest.mark.parametrize("tab", ["listen", "compare", "wrong"])
@pytest.mark.parametrize("query", ["clip=1", "clip=2&scores=raw&method=cosine", "clip=101", "clip=3&lanes=none"])
def test_every_part_is_plain_and_small(page, views, query, tab):
    view = views.read_query(f"{query}&view={tab}")
    for part in PARTS:
        assert len(json.dumps(getattr(page, part)(view), allow_nan=False)) < 50_000, part


def test_a_closed_tab_costs_nothing(page, views):
    view = views.read_query("clip=1")
    assert [getattr(page, part)(view) for part in PARTS] == [None, [], None, None, None, None, None]


def test_two_methods_side_by_side(page, views):
    shown = page.describe_comparison(views.read_query("clip=1&view=compare"))
    assert shown["versus"] == "cosine" and [len(column["rows"]) for column in shown["columns"]] == [20, 20]
    places = {row["track_id"]: row["place"] for row in shown["columns"][1]["rows"]}
    for row in shown["columns"][0]["rows"]:
        if row["track_id"] in places:
            assert row["other"] == places[row["track_id"]]
    again = page.describe_comparison(views.read_query("clip=1&view=compare&method=cosine&with=unlearning"))
    assert again["columns"][0]["label"] == "Gradient cosine"


def test_with_one_method_the_tab_says_so(changed):
    page, views = changed(
        "DELETE FROM agreement", "DELETE FROM methods WHERE method_id = 2", "DELETE FROM scores WHERE method_id = 2"
    )
    view = views.read_query("clip=1&view=compare&with=cosine")
    assert view.versus is None and page.describe_heat(view) is None
    assert page.describe_comparison(view)["lines"] == [
        "This store holds one method, Unlearning: there is no second one to compare it with."
    ]
    assert page.describe_heat_text(view) == ["Agreement needs two methods: this store holds one."]
    wrong_view = views.read_query("clip=1&view=wrong&cases=disagree")
    assert page.describe_cases(wrong_view)["empty"].endswith("here 1 did.")


def test_without_stored_agreement_it_is_worked_out(changed):
    page, views = changed("DELETE FROM agreement")
    view = views.read_query("clip=1&view=compare&measure=top10")
    assert "worked out from the scores" in page.describe_heat_text(view)[0]
    plot = json.loads(page.describe_heat(view)["plot"])
    first = [
        {int(i) for i in views.rank(views.read_query(f"clip={c}&method={m}")).first(10)}
        for c in (1, 2, 3)
        for m in ("unlearning", "cosine")
    ]
    expected = np.mean([len(first[2 * k] & first[2 * k + 1]) / 10 for k in range(3)])
    assert plot["data"][0]["z"][0][1] == pytest.approx(expected, abs=1e-4)


def test_what_a_run_did_not_keep_is_said(changed):
    page, views = changed(*(f"DELETE FROM {name}" for name in ("aspects", "passages", "score_parts", "diagnostics")))
    shown = ListenPage(views).describe_resemblance(views.read_query("clip=1"))["tracks"]["1"]
    assert (shown["missing"], shown["copied"]) == (NOT_MEASURED, PASSAGES_NOT_SEARCHED)
    shown = page.describe_diagnostics(views.read_query("clip=1&view=wrong"))
    assert shown["parts"]["said"] == "This run kept no parts of scores." and shown["findings"] == {
        "steps": [],
        "rows": [],
    }


@pytest.mark.parametrize("kind", ["disagree", "hubs", "decoys", "quiet", "short"])
def test_the_page_lists_what_python_lists(page, views, store, kind):
    shown = page.describe_cases(views.read_query(f"clip=1&view=wrong&cases={kind}&first=40"))
    frame = error_analysis.list_hard_cases(store, "unlearning", 40)[kind]
    assert shown["total"] == len(frame)
    key = "clip_id" if kind == "disagree" else "track_id"
    assert [row[key] for row in shown["rows"]] == frame[key].tolist()[: shown["limit"]]
    assert all(len(row["cells"]) == len(shown["columns"]) for row in shown["rows"])


def test_pages_and_filters_of_the_list(page, views):
    everything = page.describe_cases(views.read_query("view=wrong&cases=decoys&first=100"))
    second = page.describe_cases(views.read_query("view=wrong&cases=decoys&first=100&case=50"))
    assert everything["total"] > 50 and second["offset"] == 50 and second["rows"][0] != everything["rows"][0]
    assert (
        page.describe_cases(views.read_query("view=wrong&cases=decoys&first=100&case=9950"))["offset"]
        == (everything["total"] - 1) // 50 * 50
    )
    few = page.describe_cases(views.read_query("view=wrong&cases=decoys&first=100&holds=fugue%20machine"))
    assert 0 < few["total"] < everything["total"]
    assert all("Fugue" in row["title"] and "machine" in row["clip"] for row in few["rows"])
    assert page.describe_cases(views.read_query("view=wrong&holds=nosuch"))["empty"] == "No row holds “nosuch”."


def test_score_against_length_and_parts(page, views, store):
    shown = page.describe_diagnostics(views.read_query("clip=1&view=wrong&track=2"))
    assert shown["track_id"] == 2 and len(shown["parts"]["bars"]) == 4
    seconds = dict(zip(*(values.tolist() for values in store.tracks.read_durations()), strict=True))
    drawn = shown["duration"]["track"]
    assert len(drawn["id"]) == 40 and all(seconds[i] == x for i, x in zip(drawn["id"], drawn["x"], strict=True))
    assert shown["findings"]["steps"] == [100, 2000] and shown["findings"]["rows"][0]["values"] == [0.3, 0.14]
    assert shown["settings"][0][0] == "Run and cost"
    other = page.describe_diagnostics(views.read_query("clip=1&view=wrong&lanes=40&track=40"))
    assert "not among them" in other["parts"]["said"]


def test_findings_that_some_steps_lack_and_parts_below_zero():
    found = [Diagnostic(1, "a", 0.12346, "first"), Diagnostic(2, "b", 1.0, "second")]
    assert diagnostics.tabulate_findings(found)["rows"][0] == {
        "name": "a",
        "meaning": "first",
        "values": [0.1235, None],
    }
    shown = diagnostics.describe_parts([ScorePart(0, 0.5, -2e-6), ScorePart(0.5, 1, 1e-6)], "T", True)
    assert shown["bars"] == [[0, 0.5, -2.0], [0.5, 1, 1.0]] and shown["said"] == "The score is the mean of these parts."
    assert "By chance" not in word_hub_chance(10, 1, 40) and "0 of 0" not in word_hub_chance(10, 5, 0)
    assert word_hub_chance(10, 2, 100) == " By chance 1 of 100 tracks would be here."


def test_events_are_checked(views):
    view = views.read_query("clip=1&view=compare")
    assert EventHandler(views).choose_pair(view, {"clip_id": 2}).tab == "compare"
    swapped = EventHandler(views).choose_pair(view, {"method": "cosine"})
    assert (swapped.method.name, views.find_versus(swapped).name) == ("cosine", "unlearning")
    assert (
        views.read_query(
            EventHandler(views).choose_pair(view, {"versus": "cosine", "measure": "top10"}).query()
        ).measure
        == "top10"
    )
    for data in ({"versus": "unlearning"}, {"versus": 3}, {"measure": "x"}, {"clip_id": 99}, {"method": "x"}):
        with pytest.raises(BadEventError):
            EventHandler(views).choose_pair(view, data)
    asked = EventHandler(views).ask_cases(
        view, {"kind": "decoys", "first": 40, "text": "a & b", "offset": 50, "method": "cosine"}
    )
    assert views.read_query(asked.query()).cases == asked.cases and asked.method.name == "cosine"
    for data in ({"kind": "x"}, {"path": "/etc"}, {"method": ["cosine"]}, {"method": "x"}):
        with pytest.raises(BadEventError):
            EventHandler(views).ask_cases(view, data)
    opened = EventHandler(views).open_case(
        views.read_query("clip=1&view=wrong"), {"clip_id": 2, "track_id": 33, "method": "cosine"}
    )
    assert (opened.tab, opened.clip_id, opened.track_id, opened.method.name) == ("listen", 2, 33, "cosine")
    assert 33 in views.list_lanes(opened)
    assert EventHandler(views).open_case(view, {"clip_id": 3, "tab": "compare"}).tab == "compare"
    with pytest.raises(BadEventError):
        EventHandler(views).open_case(view, {"clip_id": 2, "track_id": 999})


def test_the_example_prints_every_list_and_writes_safe_files(store_path, tmp_path, capsys):
    assert error_analysis.main([str(store_path), "--first", "40", "--csv", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "tracks high for many clips (" in printed and "decoys high up (" in printed
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == [
        "decoys",
        "disagree",
        "hubs",
        "quiet",
        "short",
    ]
    frame = error_analysis.escape_formulas(
        error_analysis.list_hard_cases(Store(store_path))["hubs"].assign(title="=1+1", clip="-3.5")
    )
    assert set(frame["title"]) == {"'=1+1"} and set(frame["clip"]) == {"-3.5"}
    assert error_analysis.main([str(tmp_path / "nowhere.duckdb")]) == 1
    assert error_analysis.main([str(store_path), "--method", "x"]) == 1
    assert "no method x: this store has unlearning, cosine" in capsys.readouterr().err
