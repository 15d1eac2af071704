"""Questions about groups of tracks, held to a naive count over the store's rows."""

from __future__ import annotations

import contextlib

import duckdb
import pytest

from explorer.holders.pairs import find_strongest, read_pairs
from explorer.store import Store
from explorer.store.holders import ANY_ROLE, COLLECTION
from explorer.store.lift import PLACES
from explorer.store.records import AuditionCounts
from support.held import CLOSE_PASSAGE, HOSTILE_LABEL, LABEL, LABELLED

GENERATED = (1, 2, 3)


@pytest.fixture(scope="module")
def store(held):
    return held.store


def test_groupings(store):
    found = store.holders.read_groupings()
    assert list(found) == ["composer", "label", "performer", "publisher", "rights holder", COLLECTION, ANY_ROLE]
    assert found["rights holder"] == (1, 1.0)
    assert found["composer"][0] == 6 and found["label"] == (2, len(LABELLED) / 40)


@pytest.mark.parametrize("count", ["10", "100", "above"])
@pytest.mark.parametrize("grouping", ["composer", COLLECTION])
def test_groups_are_what_a_naive_count_finds(held, store, grouping, count):
    groups = store.holders.read_groups(1, grouping, count)
    frames = {clip: held.store.scores.read_frame(1, clip) for clip in GENERATED}
    tracks = {i: held.store.tracks.read(i) for i in range(1, 41)}
    for i, name in enumerate(groups.name):
        own = [track_id for track_id, track in tracks.items() if getattr(track, grouping) == name]
        hits = above = 0
        best = []
        for frame in frames.values():
            mine = frame[frame["track_id"].isin(own)]
            up = mine["above_noise"] if count == "above" else mine["train_rank"] <= PLACES[count]
            hits, above = hits + int(up.sum()), above + int(mine["above_noise"].sum())
            best.append(int(mine["train_rank"].min()))
        assert (groups.tracks[i], groups.hits[i], groups.above[i], groups.best[i]) == (len(own), hits, above, min(best))
        assert groups.expected[i] == pytest.approx(len(own) * groups.hits.sum() / 40)
        assert store.holders.list_members(grouping, name) == own
    assert groups.tracks.sum() == 40


def test_renderings_of_a_work_are_counted_as_one(store):
    groups = store.holders.read_groups(1, "rights holder", "10")
    assert (groups.tracks[0], groups.works[0]) == (40, 39)
    assert store.tracks.count_renderings([1, 2, 17]) == {1: 2, 2: 1, 17: 2}


def test_several_holders_of_a_track_with_their_roles(held, store):
    parties = store.holders.read_parties([1, 3])
    assert [role for _, role in parties[1]] == ["composer", "label", "performer", "rights holder"]
    assert (HOSTILE_LABEL, "label") in parties[3] and (LABEL, "label") in parties[3]
    pair = read_pairs(held.store, held.clip_by_id, 1, [(1, 1)])[0]
    assert f"{LABEL} (label) · {LABEL} (performer)" in pair.people and pair.renderings == 2
    # Once by any role, though it is there by two.
    assert store.holders.list_members(ANY_ROLE, LABEL) == list(LABELLED)
    groups = store.holders.read_groups(1, ANY_ROLE, "10")
    assert groups.tracks[list(groups.name).index(LABEL)] == len(LABELLED)


def test_pairs_come_above_noise_first_then_by_place(held, store):
    pairs = store.holders.list_pairs(1, "label", LABEL, "10", 100)
    rows = store.scores.read_pairs(1, pairs)
    assert [(row["clip_id"], row["track_id"]) for row in rows] == [tuple(pair) for pair in pairs]
    keys = [(not row["above_noise"], row["place"]) for row in rows]
    assert keys == sorted(keys) and all(row["place"] <= 10 for row in rows)
    assert {row["track_id"] for row in rows} <= set(LABELLED) and {row["clip_id"] for row in rows} <= set(GENERATED)
    assert store.holders.list_pairs(1, "label", LABEL, "10", 2, 1) == pairs[1:3]
    assert len(store.holders.list_pairs(1, "label", LABEL, None, 100)) == 3 * len(LABELLED)


def test_pairs_that_hold_words_of_track_or_clip(held, store):
    pairs = store.holders.list_pairs(1, "label", LABEL, "100", 100)
    assert store.holders.count_pairs(1, "label", LABEL, "100", "") == len(pairs)
    tracks, clips = held.store.tracks.read_many([track for _, track in pairs]), held.clip_by_id
    for text in ("Nocturne", "PIANO", "piano nocturne", "piano zzz", "%"):
        words = text.lower().split()
        texts = {
            pair: f"{tracks[pair[1]].title} {tracks[pair[1]].composer} {tracks[pair[1]].collection}"
            f" {clips[pair[0]].prompt}".lower()
            for pair in map(tuple, pairs)
        }
        wanted = [pair for pair, held_in in texts.items() if all(word in held_in for word in words)]
        assert [tuple(pair) for pair in store.holders.list_pairs(1, "label", LABEL, "100", 100, 0, text)] == wanted
        assert store.holders.count_pairs(1, "label", LABEL, "100", text) == len(wanted)
    assert 0 < store.holders.count_pairs(1, "label", LABEL, "100", "piano") < len(pairs)


def test_a_track_is_found_by_any_of_its_holders(held):
    found = held.store.tracks.find("tiny label", None, None).tolist()
    assert found == list(LABELLED) and held.store.tracks.find("quiet press", None, None).tolist() == [5]
    assert read_pairs(held.store, held.clip_by_id, 1, []) == []


def test_a_moment_is_where_the_influence_is_largest():
    assert find_strongest([0.0, 3.0, 1.0], 0.5, 1.5) == (0.5, 1.0)
    assert find_strongest([0.0, 0.0, 1.0], 0.5, 1.4, 1.0) == (0.4, 1.4)
    assert find_strongest([1.0], 0.5, 0.4, 1.5) == (0.0, 0.4)
    assert find_strongest([-1.0, 0.0], 0.5, 1.0) is None and find_strongest(None, None, 1.0) is None


def test_copying_that_was_found(store):
    found = store.resemblance.find_copying(5, "label", LABEL)
    assert (found.compared, found.close) == (len(LABELLED), 1)
    passage = found.passages[0]
    assert (*passage.clip, *passage.track) == CLOSE_PASSAGE and passage.semitones == 2 and passage.track_id == 1
    assert store.resemblance.find_copying(5).compared == 20 and store.resemblance.find_copying(5, clip_id=1).close == 1


def test_copying_that_was_looked_for_in_vain_or_not_at_all(store, made, tmp_path):
    assert store.resemblance.has_search()
    beethoven = store.resemblance.find_copying(5, "label", HOSTILE_LABEL)  # track 3: compared, nothing close
    assert (beethoven.compared, beethoven.close, beethoven.passages) == (1, 0, ())
    assert store.resemblance.find_copying(5, clip_id=2).compared == 0
    path = made.make_store(tmp_path / "made")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM aspects")
        con.execute("DELETE FROM passages")
    with contextlib.closing(Store(path)) as never:
        assert not never.resemblance.has_search()


def test_what_may_be_heard(store):
    assert store.holders.count_audible("label", LABEL) == AuditionCounts(full=6, excerpt=1, none=1, silent=1)
    assert sum(vars(store.holders.count_audible(None, None)).values()) == 41  # one of 40 is silent as well


def test_controls_find_themselves(store):
    assert store.runs.count_controls(1) == (2, 2)


def test_a_store_without_a_table_of_holders_still_has_its_summaries(made, tmp_path):
    path = made.make_store(tmp_path / "shop")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM holders")
    store = Store(path)
    assert list(store.holders.read_groupings()) == ["composer", "rights holder", COLLECTION, ANY_ROLE]
    assert store.holders.read_parties([12])[12] == [("Johann Sebastian Bach", "composer"), ("public", "rights holder")]
    store.close()
