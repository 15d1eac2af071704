"""The page of rights holders as values: what it says, that it says no more, and that it stays small."""

from __future__ import annotations

import json
from dataclasses import replace

import duckdb
import numpy as np
import pytest

from explorer.holders.page import HoldersPage, choose_grouping
from explorer.state.store_views import StoreViews
from explorer.store import Store
from explorer.store.records import AuditionCounts, Copying, Summary
from explorer.text import holders
from support.held import HOSTILE_LABEL, LABEL


@pytest.fixture(scope="module")
def show(held):
    page = HoldersPage(held)
    return lambda **asked: page.describe_holders(held.read_address({"view": "holders", **asked}))


@pytest.mark.parametrize(
    ("groupings", "choice", "says"),
    [
        ({"rights holder": (9, 0.3), "composer": (9, 0.3)}, "rights holder", ""),
        ({"rights holder": (2, 0.9), "composer": (9, 0.3), "collection": (3, 0.4)}, "composer", "grouped by composer"),
        ({"rights holder": (2, 0.9), "composer": (1, 1.0), "collection": (3, 0.4)}, "collection", "90 %"),
        ({"collection": (3, 0.4)}, "collection", "names no rights holders"),
    ],
)
def test_what_is_grouped_by_unasked(groupings, choice, says):
    found, note = choose_grouping(groupings)
    assert found == choice and says in note and bool(note) == bool(says)


def test_groups_are_listed_by_what_is_sure(show, held):
    shown = show(by="composer")
    groups = held.store.holders.read_groups(1, "composer", "10")
    assert [row["name"] for row in shown["groups"]["rows"]] == list(groups.name)
    assert (np.diff(groups.sure_low) <= 0).all()
    assert "not by a raw sum" in shown["why"][0]
    assert shown["chosen"] is None and show(by="nothing")["grouping"] == "composer"


def test_rows_of_a_group_by_words(show):
    whole = show(by="label", of=LABEL, up="100")["chosen"]
    some = show(by="label", of=LABEL, up="100", words="piano")["chosen"]
    assert 0 < some["total"] < whole["total"] == some["of"] and some["within"] == "piano"
    assert all("piano" in f"{row['title']} {row['people']} {row['clip']}".lower() for row in some["rows"])
    none = show(by="label", of=LABEL, up="100", words="zzz")["chosen"]
    assert none["rows"] == [] and none["total"] == 0 and none["of"] == whole["total"]


def test_a_group(show):
    shown = show(by="label", of=LABEL)
    chosen = shown["chosen"]
    assert (chosen["name"], chosen["role"]) == (LABEL, "label")
    assert "Its 8 training tracks come up" in chosen["result"][0] and "Lift" in chosen["result"][0]
    first = chosen["rows"][0]
    assert first["kind"] == "above" and first["badge"] == "above noise" and first["q"] == "q 0.04"
    assert (first["clip_id"], first["track_id"], first["place"], first["of"]) == (1, 1, "1–2", "40")
    assert first["work"] == "one of 2 renderings of this work" and f"{LABEL} (performer)" in first["people"]
    assert first["model"] == "shaped the model: above noise"  # apart from the badge, which is of the pair
    assert first["clip_at"] and first["track_at"] and first["hears"]
    assert [link["href"].split("?")[0] for link in chosen["downloads"]] == [
        f"/report/holder.{kind}" for kind in ("html", "csv", "parquet")
    ]
    whole = {row["track_id"]: row for row in show(by="label", of=LABEL, up="100")["chosen"]["rows"]}
    assert "does not allow" in whole[5]["why"] and not whole[5]["hears"] and not whole[5]["playable"]


def test_the_first_questions(show):
    copied, sure, played, out = show(by="label", of=LABEL)["questions"]
    assert "1 of the 8 pairs" in copied["lines"][0] and "apart from influence" in copied["lines"][-1]
    assert "clip 1, 0.2–1.0 s" in copied["passages"][0]["text"] and "+2 semitones" in copied["passages"][0]["text"]
    assert any("2 of 2 tracks that were unlearned themselves" in line for line in sure["lines"])
    assert any("training again" in line for line in sure["lines"])
    assert "6 tracks whole, 1 track the first 15 s, 1 track not at all" in played["lines"][0]
    assert "still contains" in out["lines"][1]
    assert out["command"] == "python -m precompute remove --by label --of 'Tiny Label' --store store.duckdb --audio"
    assert "remove TRACK" in show()["questions"][3]["command"]


def test_a_group_that_does_not_come_up_says_so(show):
    chosen = show(by="label", of=HOSTILE_LABEL, up="10")["chosen"]  # track 3 is strong for clip 2 alone
    assert chosen["name"] == HOSTILE_LABEL and chosen["total"] >= 1
    never = next(row["name"] for row in show(up="above")["groups"]["rows"] if row["hits"] == "0")
    shown = show(up="above", of=never)["chosen"]
    assert "does not come up" in shown["heading"] and shown["rows"] and "never" in shown["result"][0]
    assert "None of its tracks is above noise" in shown["result"][1]
    assert {row["kind"] for row in shown["rows"]} <= {"noise", "untested"}


def test_a_name_that_is_not_there(show):
    shown = show(by="label", of="Nobody")
    assert shown["chosen"] is None and shown["unknown"] == "Nobody"


def test_names_are_found_without_accents_and_pages_end(show):
    assert [row["name"] for row in show(name="frederic CHOP")["groups"]["rows"]] == ["Frédéric Chopin"]
    assert show(name="nobody")["groups"]["total"] == 0
    assert show(page="40")["groups"]["offset"] == 0
    assert show(by="composer", of="Amy Beach", up="100", rows="1000")["chosen"]["offset"] == 0


def test_it_stays_small_whatever_names_hold(made, tmp_path):
    path = made.make_store(tmp_path / "shop")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM holders")
        con.execute(
            "INSERT INTO holders SELECT t.track_id, repeat('\U0001f3b5', 400) || i, 'role ' || i"
            " FROM tracks t, range(8) AS names (i)"
        )
        con.execute("INSERT INTO holders SELECT track_id, track_id || repeat('\U0001f3b5', 400), 'label' FROM tracks")
    store = Store(path)
    views = StoreViews(store)
    page = HoldersPage(views)
    first = page.describe_holders(views.read_address({"view": "holders", "by": "role 1", "up": "100"}))
    name = first["groups"]["rows"][0]["name"]
    assert len(name) == 200
    for asked in ({"by": "label"}, {"by": "role 1", "of": name, "up": "100"}):
        shown = page.describe_holders(views.read_address({"view": "holders", **asked}))
        assert len(json.dumps(shown, ensure_ascii=False).encode()) < 50_000
    store.close()


def test_a_catalogue_is_unlearned_on_request(show, held):
    offer = show(by="label", of=LABEL)["chosen"]["catalogue"]
    assert offer["label"] == "Unlearn the whole catalogue" and not offer["asked"]
    assert offer["lines"] == offer["rows"] == []
    whole = show(by="label", of=LABEL, unlearn="1")["chosen"]["catalogue"]
    assert whole["asked"] and whole["lines"][0].startswith(
        "For none of 3 generated clips unlearning the whole catalogue (8 tracks) would raise the model’s loss by more"
    )  # decoys score high by raw score
    assert "This is a claim about the catalogue" in whole["lines"][1]
    assert "999 random sets of 8 tracks, drawn from the catalogue and 40 decoys together" in whole["lines"][2]
    assert len(whole["rows"]) == 3 and {row["kind"] for row in whole["rows"]} == {"noise"}
    assert whole["sum"].startswith("sum of raw scores") and all(float(row["p"]) > 0.5 for row in whole["rows"])
    large = show(by="rights holder", of="public", unlearn="1")["chosen"]["catalogue"]
    assert large["lines"][0].startswith("Cannot tell: this catalogue has 40 tracks, more than half as many as the 40")
    view = held.read_address({"view": "holders", "by": "label", "of": LABEL, "unlearn": "1"})
    assert view.holders.unlearn and "unlearn=1" in view.query()
    assert HoldersPage(held).describe_holders(replace(view, method=held.methods[1]))["chosen"]["catalogue"]["rows"]


def test_a_catalogue_above_noise_is_said_to_be(made, tmp_path):
    path = made.make_store(tmp_path / "shop")
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE scores SET score = score + 2e-5 WHERE clip_id = 2 AND method_id = 1 AND track_id % 5 = 4")
        con.execute("UPDATE scores SET score = score - 2e-5 WHERE clip_id = 2 AND method_id = 1 AND train_rank IS NULL")
        con.execute("DELETE FROM agreement")
    views = StoreViews(Store(path))
    asked = {"view": "holders", "by": "composer", "of": "Amy Beach", "unlearn": "1"}
    whole = HoldersPage(views).describe_holders(views.read_address(asked))["chosen"]["catalogue"]
    assert whole["lines"][0].startswith("For 1 of 3 generated clips unlearning the whole catalogue (8 tracks)")
    first = whole["rows"][0]
    assert first["clip"].startswith("2 · ") and (first["kind"], first["p"]) == ("above", "0.001")
    views.store.close()
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE methods SET name = 'unlearning-raw' WHERE method_id = 1")
    views = StoreViews(Store(path))
    assert HoldersPage(views).describe_holders(views.read_address(asked))["chosen"]["catalogue"] is None
    views.store.close()


# -- sentences --------------------------------------------------------------------------------------------------------


def summary(above: int = 0, can_tell: bool = True, decoys: int = 40) -> Summary:
    return Summary(1, 40, decoys, above, 12, can_tell, 5, 3, (None,) * 3, (None,) * 3, 1.0, 0.5, ())


def test_not_looked_for_not_compared_and_none_found_are_told_apart():
    said = [
        holders.word_copying(Copying(0, 0, ()), False)[0],
        holders.word_copying(Copying(0, 0, ()), True)[0],
        holders.word_copying(Copying(12, 0, ()), True)[0],
    ]
    assert [line.split(":")[0].split(".")[0] for line in said] == [
        "Not looked for",
        "None of these tracks was compared",
        "None found among the 12 pairs of clip and track compared",
    ]


def test_how_sure_says_what_is_wrong_first():
    said = holders.word_group_certainty([summary(above=3), summary(can_tell=False)], (1, 2), False, 3)
    assert "6 of the 20 first places (10 by chance)" in said[0] and "3 are of this group" in said[1]
    assert "at most 10 % are expected to be false" in said[2] and "one assumption" in said[2]
    assert said[3] == "For 1 clip the test cannot tell: decoys are too few."
    assert "No decoys" in holders.word_group_certainty([summary(decoys=0)], (0, 0), False)[0]
    told = [" ".join(holders.word_group_certainty([summary()], (0, 0), retrained)) for retrained in (False, True)]
    assert "What training again without these tracks would add" in told[0] and "It was not done here" in told[0]
    assert "would add" not in told[1] and "its result stands with the method" in told[1]


def test_what_may_be_played():
    assert "no tracks" in holders.word_audition(AuditionCounts(0, 0, 0, 0))[0]
    assert "2 tracks whole. The sound of 1 track" in holders.word_audition(AuditionCounts(2, 0, 0, 1))[0]


def test_a_command_is_safe_to_paste():
    _, command = holders.word_removal("label", "a'; rm -rf ~ #", "my store.duckdb")
    assert command.endswith("""--of 'a'"'"'; rm -rf ~ #' --store 'my store.duckdb' --audio""")


def test_never_owed(show, held):
    text = json.dumps([show(by="label", of=LABEL), show()]).lower()
    assert "owed" not in text and "% of this clip" not in text
