"""The page over stores that hold a tuned model's clip, a clip without decoys enough, a hub; and what it opens with."""

from __future__ import annotations

import duckdb
import pytest

from explorer.holders.pairs import read_pairs
from explorer.listen.page import ListenPage
from explorer.methods.page import MethodsPage
from explorer.report.evidence import gather_clip_evidence
from explorer.report.html import render_html
from explorer.report.row_files import build_frame
from explorer.state.store_views import StoreViews
from explorer.store import Store
from support import variants


@pytest.fixture(scope="module")
def path(made, tmp_path_factory):
    path = made.make_store(tmp_path_factory.mktemp("variants") / "s")
    variants.add_tuned_clip(path)
    variants.spare_decoys(path)
    variants.mark_hub(path)
    return path


@pytest.fixture(scope="module")
def views(path):
    views = StoreViews(Store(path))
    yield views
    views.store.close()


@pytest.fixture(scope="module")
def page(views):
    return ListenPage(views)


# --- what the page opens with


def open_changed(made, folder, *changes: str) -> StoreViews:
    path = made.make_store(folder / "s")
    with duckdb.connect(str(path)) as con:
        for change in changes:
            con.execute(change)
        variants.publish_again(con)
    return StoreViews(Store(path))


def test_the_first_clip_has_an_answer_by_the_default_method(made, tmp_path):
    views = open_changed(
        made,
        tmp_path,
        "UPDATE store_info SET default_method = 'cosine'",
        "UPDATE scores SET above_noise = false WHERE clip_id = 1 AND method_id = 2",
    )
    view = views.read_address({})
    assert (view.method.name, view.clip_id) == ("cosine", 2)
    named = views.read_address({"clip": "3", "method": "unlearning"})  # the address wins
    assert (named.method.name, named.clip_id) == ("unlearning", 3)
    assert views.read_address({"clip": "999"}).clip_id == 2


def test_without_any_answer_the_first_clip_is_the_first(made, tmp_path):
    nothing = "UPDATE scores SET above_noise = false"
    views = open_changed(made, tmp_path, nothing, "UPDATE store_info SET default_method = 'gone'")
    assert (views.read_address({}).method.name, views.read_address({}).clip_id) == ("unlearning", 1)


def test_a_control_is_no_answer(made, tmp_path):
    views = open_changed(made, tmp_path, "UPDATE scores SET above_noise = false WHERE clip_id < 100")
    assert views.first_clip.clip_id == 1


# --- a tuned model


def test_a_tuned_models_clip_is_named_and_its_exemplars_are_training_tracks(page, views):
    view = views.read_query(f"clip={variants.TUNED_CLIP}")
    lines = page.describe_verdict(view)
    assert (
        lines[0].startswith("6 of 20 candidates") and lines[1] == f"This clip comes from a model {variants.MODEL_NOTE}."
    )
    rows = page.describe_table(view)["rows"]
    assert [row["track_id"] for row in rows[:2]] == list(variants.EXEMPLARS)
    assert {row["kind"] for row in rows[:2]} == {"above"} and {row["model"] for row in rows[:2]} == {"–"}
    assert page.describe_table(view)["headings"]["model"] == "shaped the first model?"
    lanes = page.describe_player(view)["tracks"]
    assert lanes[0]["chip"] == "above" and lanes[0]["place"] == "place 1 of 42"
    first = page.describe_player(views.read_query("clip=1&lanes=41"))["tracks"][0]
    assert first["chip"] == "decoy"  # for the first model
    remarks = page.describe_resemblance(view)["tracks"]["1"]["remarks"]
    assert any(text.startswith("Shaped the model before it was tuned") for text in remarks)
    assert "from a tuned model" in page.describe_player(view)["clip"]["note"]


def test_what_is_said_of_a_whole_store_is_of_run_1(views, page):
    assert views.store.clips.count() == 3
    assert {one.clip_id for one in views.list_summaries(1)} == {1, 2, 3}
    groups = views.store.holders.read_groups(1, "composer", "10")
    assert int(groups.hits.sum()) == 30  # ten first places of three clips
    assert views.store.claims.count_generated(1) == 3
    top = views.store.scores.read_top(1)
    assert set(top.loc[top["clip_id"] == variants.TUNED_CLIP, "run_id"]) == {2}
    record = MethodsPage(views).describe_methods(views.read_query("view=compare"))["methods"][0]["record"]
    assert any("for 1 of 3 clips" in line for line in record)


def test_copying_from_an_exemplar_is_looked_for(views, path, tmp_path):
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(path.read_bytes())
    with duckdb.connect(str(copy)) as con:
        for clip in (1, variants.TUNED_CLIP):
            con.execute(f"INSERT INTO passages VALUES ({clip}, 41, 1, 0, 1, 0, 1, 0, 0.9, 0.01)")
    store = Store(copy)
    assert [one.track_id for one in store.resemblance.find_copying(9, clip_id=variants.TUNED_CLIP).passages] == [41]
    assert [one.track_id for one in store.resemblance.find_copying(9, clip_id=1).passages] == [1]
    store.close()


def test_a_report_on_a_tuned_models_clip(views):
    evidence = gather_clip_evidence(views, variants.TUNED_CLIP)
    assert evidence.pairs[0].track.track_id == 41 and evidence.pairs[0].kind == "above"
    assert ("Model", f"This clip comes from a model {variants.MODEL_NOTE}.") in evidence.subject
    assert "&lt;b&gt;Prelude" in render_html(evidence) and "<b>" not in render_html(evidence)


# --- decoys too few, a hub


def test_a_clip_without_decoys_enough_says_so_everywhere(views, page):
    view = views.read_query(f"clip={variants.SCARCE_CLIP}")
    lines = page.describe_verdict(view)
    assert lines[0].startswith("Cannot tell for this clip") and lines[1].startswith("Too few decoys")
    rows = page.describe_table(view)["rows"]
    labels = {row["badge"] for row in rows}
    assert labels == {"too few decoys to tell", "not tested"}
    tested = {i for i in range(1, 41) if views.rank(view).match_bin[views.rank(view).index(i)] > 0}
    assert {row["track_id"] for row in rows if row["badge"] == "too few decoys to tell"} == tested
    cards = {card["clip_id"]: card["above_text"] for card in page.describe_overview(view)["clips"]}
    assert cards == {
        1: "4 of 18 candidates above noise",
        2: "cannot tell: too few decoys",
        3: "nothing above noise",
        variants.TUNED_CLIP: "6 of 20 candidates above noise",
    }
    pairs = read_pairs(views.store, views.clip_by_id, 1, [(2, 3), (2, 7), (1, 1), (1, 45)])
    assert [pair.badge for pair in pairs] == [
        *("too few decoys to tell", "too few decoys to tell", "above noise", "decoy, never heard")
    ]


def test_a_hub_is_marked_where_its_track_is_shown(views, page):
    view = views.read_query(f"clip=3&lanes={variants.HUB}&track={variants.HUB}")
    label = "hub: above noise for 3 of 3 clips"
    assert page.describe_player(view)["tracks"][0]["model"] == label
    row = next(row for row in page.describe_table(view)["rows"] if row["track_id"] == variants.HUB)
    assert row["hub"] == label and row["kind"] == "untested"  # the claim about this clip is its own
    remarks = page.describe_resemblance(view)["tracks"][str(variants.HUB)]["remarks"]
    assert remarks[2].startswith("A hub: above noise for 3 of 3 generated clips")
    cases = MethodsPage(views).describe_cases(views.read_query("view=wrong&first=100"))["rows"]
    assert any(label in one["remarks"] for one in cases if one["track_id"] == variants.HUB)


def test_rows_of_a_report_hold_both_claims_and_intervals(views):
    frame = build_frame(gather_clip_evidence(views, 1)).set_index("track_id")
    assert frame.loc[1, ["above_noise", "model_above_noise", "is_hub"]].tolist() == [True, True, False]
    assert frame.loc[2, ["above_noise", "model_above_noise", "is_hub"]].tolist() == [True, False, True]
    assert frame.loc[30, "model_above_noise"] and not frame.loc[30, "above_noise"]
    assert (frame["place_best"] <= frame["place_worst"]).all()
    known = frame["place"].notna()
    assert (frame.loc[known, "place_best"] <= frame.loc[known, "place"]).all()
    assert (
        frame.loc[frame["match_bin"] == 0, "p_value"].isna().all()
        and frame.loc[frame["is_decoy"], "q_value"].isna().all()
    )
    assert frame["clips_above_noise"].max() == 3
