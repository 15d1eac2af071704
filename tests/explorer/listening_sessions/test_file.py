"""The sessions file: what it keeps, what it refuses, what deleting leaves."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from explorer import listening_sessions
from explorer.listening_sessions import file as session_file
from explorer.listening_sessions.file import SessionFile
from explorer.listening_sessions.records import SessionRefusedError
from explorer.store.errors import SessionFileError
from support.listening import plan_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.sqlite"


@pytest.fixture
def file(path):
    opened = SessionFile(path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def plan(store_path):
    from explorer.store import Store

    opened = Store(store_path)
    yield plan_of(opened)
    opened.close()


def joined(file, session, nickname):
    return file.find_listener(session.session_id, file.join(session, nickname)[0])


VERSION_1 = Path(listening_sessions.__file__).with_name("sessions.sql")


def test_every_write_is_flushed_to_the_disk(file):
    assert file._database._con.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file._database._con.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert file._database._con.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_what_was_written_is_read_again(file, path, plan):
    session = file.add_session(plan)
    ann = joined(file, session, "  Ann \t B ")
    lane = file.read_trials(session.session_id)[0].pairs[0]
    file.rate(ann, lane.token, {"overall": 4, "melody": 2}, "like a waltz ")
    file.rate(ann, lane.token, {"overall": 5, "melody": None}, None)
    file.close()
    file = SessionFile(path)
    try:
        assert file.read_session(session.session_id) == session and session.questions == plan.questions
        for trial, made in zip(file.read_trials(session.session_id), plan.trials, strict=True):
            for one, before in zip(trial.lanes, made.lanes, strict=True):
                assert (one.role, one.track_id, one.title, one.scores) == (
                    before.role,
                    before.track_id,
                    before.title,
                    before.scores,
                )
        answers, notes = file.read_answers(ann)
        assert answers == {lane.lane_id: {"overall": 5}} and notes == {lane.lane_id: "like a waltz"}
        assert [one["nickname"] for one in file.list_listeners(session.session_id)] == ["Ann B"]
        assert file.list_listeners(session.session_id)[0]["rated"] == 1
    finally:
        file.close()


def test_every_listener_has_an_order_of_their_own_clip_by_clip(file, plan):
    session = file.add_session(plan)
    orders = {joined(file, session, f"n{i}").pairs for i in range(8)}
    trials = {lane.lane_id: trial.clip_id for trial in file.read_trials(session.session_id) for lane in trial.pairs}
    assert len(orders) == 8
    for order in orders:
        assert sorted(order) == sorted(trials)
        clips = [trials[lane_id] for lane_id in order]
        assert sum(a != b for a, b in pairwise(clips)) == 1  # two clips, one change


def test_tokens_say_nothing_and_are_kept_as_hashes(file, plan, path):
    one, two = file.add_session(plan), file.add_session(plan)
    tokens = [lane.token for s in (one, two) for trial in file.read_trials(s.session_id) for lane in trial.lanes]
    assert len(set(tokens)) == len(tokens) and all(len(token) == 16 for token in tokens)
    cookie, _ = file.join(one, "Ann")
    assert cookie not in "".join(map(str, file._database._con.execute("SELECT * FROM listeners").fetchall()))
    assert file.find_listener(two.session_id, cookie) is None and file.find_listener(one.session_id, "x") is None
    lane_of_two = file.read_trials(two.session_id)[0].pairs[0].token
    with pytest.raises(SessionRefusedError, match="no such pair"):
        file.rate(file.find_listener(one.session_id, cookie), lane_of_two, {"overall": 1}, None)
    clip = file.read_trials(one.session_id)[0].clip.token
    with pytest.raises(SessionRefusedError, match="no such pair"):
        file.rate(file.find_listener(one.session_id, cookie), clip, {"overall": 1}, None)


@pytest.mark.parametrize(
    ("answers", "note", "message"),
    [
        ({"overall": 6}, None, "1 to 5"),
        ({"overall": 0}, None, "1 to 5"),
        ({"overall": True}, None, "1 to 5"),
        ({"overall": "3"}, None, "1 to 5"),
        ({"overall": [3]}, None, "1 to 5"),
        ({"overall": 2.5}, None, "1 to 5"),
        ({"beauty": 3}, None, "does not ask that"),
        ({}, "x" * 1001, "at most 1000"),
    ],
)
def test_answers_off_the_scale_are_refused_whole(file, plan, answers, note, message):
    session = file.add_session(plan)
    ann = joined(file, session, "Ann")
    lane = file.read_trials(session.session_id)[0].pairs[0]
    with pytest.raises(SessionRefusedError, match=message):
        file.rate(ann, lane.token, {"melody": 3, **answers}, note)
    assert file.read_answers(ann) == ({}, {})


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\x07b", "\u202eabc"])
def test_unfit_nicknames_are_refused(file, plan, name):
    with pytest.raises(SessionRefusedError, match="nickname"):
        file.join(file.add_session(plan), name)


def test_a_nickname_is_one_persons_but_only_in_its_session(file, plan):
    session = file.add_session(plan)
    file.join(session, "Ann")
    with pytest.raises(SessionRefusedError, match="has that nickname") as caught:
        file.join(session, "ANN")
    assert caught.value.status == 409
    assert file.join(file.add_session(plan), "Ann")


def test_a_closed_session_takes_nothing_and_a_revealed_one_stays_so(file, plan):
    session = file.add_session(plan)
    ann = joined(file, session, "Ann")
    lane = file.read_trials(session.session_id)[0].pairs[0].token
    for state in ("closed", "revealed"):
        file.set_state(session.session_id, state)
        with pytest.raises(SessionRefusedError, match="closed the ratings"):
            file.rate(ann, lane, {"overall": 1}, None)
        with pytest.raises(SessionRefusedError, match="closed the ratings"):
            file.join(session, "Bob")
        if state == "closed":
            file.set_state(session.session_id, "open")
            file.rate(ann, lane, {"overall": 2}, None)
    with pytest.raises(SessionRefusedError, match="make another"):
        file.set_state(session.session_id, "open")
    with pytest.raises(SessionRefusedError):
        file.set_state(session.session_id, "ajar")
    assert list(file.read_answers(ann)[0].values()) == [{"overall": 2}]


def test_deleting_leaves_nothing_of_a_listener_in_the_file(file, plan, path, tmp_path):
    session = file.add_session(plan)
    ann, bob = joined(file, session, "Annabella"), joined(file, session, "Bobbington")
    lane = file.read_trials(session.session_id)[0].pairs[0].token
    for listener in (ann, bob):
        file.rate(listener, lane, {"overall": 3}, f"the note of {listener.nickname}")

    def everything():
        return b"".join(one.read_bytes() for one in tmp_path.iterdir())

    assert b"Annabella" in everything()
    file.delete_listener(session.session_id, ann.listener_id)
    assert b"Annabella" not in everything() and b"Bobbington" in everything()
    assert file.read_answers(bob) != ({}, {})
    with pytest.raises(SessionRefusedError, match="deleted"):
        file.rate(ann, lane, {"overall": 3}, None)
    file.delete_session(session.session_id)
    assert b"Bobbington" not in everything() and file.list_sessions() == []


def test_twenty_threads_write_through_one_connection(file, plan):
    session = file.add_session(plan)
    lanes = [lane.token for trial in file.read_trials(session.session_id) for lane in trial.pairs]

    def take_part(number):
        listener = joined(file, session, f"listener {number}")
        for i, lane in enumerate(lanes):
            file.rate(listener, lane, {"overall": 1 + (number + i) % 5}, None)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(take_part, range(20)))
    assert len(file.read_ratings(session.session_id).ratings) == 20 * len(lanes)


def test_a_file_that_cannot_be_used_is_named(file, path, tmp_path):
    with pytest.raises(SessionFileError, match="in use by another explorer"):
        SessionFile(path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as con:
        con.execute("CREATE TABLE mine (a)")
    con.close()
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, only some text that is long enough" * 20)
    newer = tmp_path / "newer.sqlite"
    SessionFile(newer).close()
    with sqlite3.connect(newer) as con:
        con.execute("PRAGMA user_version=9")
    con.close()
    for bad, message in (
        (other, "another program's"),
        (text, "not a sessions file"),
        (newer, "version 9"),
        (tmp_path / "none" / "x", "cannot open"),
        (tmp_path, "cannot open"),
    ):
        with pytest.raises(SessionFileError, match=message) as caught:
            SessionFile(bad)
        assert str(bad) in str(caught.value) and "\n" not in str(caught.value)


def test_a_resume_code_is_its_listeners_alone_and_kept_nowhere(file, plan, tmp_path):
    one, two = file.add_session(plan), file.add_session(plan)
    (token, code), (_, other) = file.join(one, "Ann"), file.join(one, "Bob")
    ann = file.find_listener(one.session_id, token)
    groups = code.split("-")
    assert [len(group) for group in groups] == [4, 4, 4] and set("".join(groups)) <= set(session_file.CODE_LETTERS)
    assert code != other and code.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for written in (code, code.lower(), code.replace("-", " "), code.replace("0", "o").replace("1", "l")):
        again = file.resume(one, written)
        assert again != token and file.find_listener(one.session_id, again) == ann
    for session, wrong in ((two, code), (one, ""), (one, code[:-1]), (one, ann.nickname), (one, token)):
        with pytest.raises(SessionRefusedError, match="no listener of this session has that code") as caught:
            file.resume(session, wrong)
        assert caught.value.status == 403
    new = file.renew_code(ann)
    with pytest.raises(SessionRefusedError):
        file.resume(one, code)
    assert file.find_listener(one.session_id, file.resume(one, new)) == ann
    assert (
        file.find_listener(one.session_id, again) == file.find_listener(one.session_id, token) == ann
    )  # who is in stays in


def test_old_browsers_make_room_and_all_go_with_their_listener(file, plan):
    session = file.add_session(plan)
    token, code = file.join(session, "Ann")
    tokens = [file.resume(session, code) for _ in range(session_file.BROWSERS + 2)]
    there = [file.find_listener(session.session_id, one) is not None for one in tokens]
    assert there == [False] * 2 + [True] * session_file.BROWSERS
    ann = file.find_listener(session.session_id, token)
    assert ann is not None
    file.delete_listener(session.session_id, ann.listener_id)
    assert not any(file.find_listener(session.session_id, one) for one in (token, *tokens))
    assert file._database.read("SELECT count(*) FROM browsers") == [(0,)]
    for refused, status in ((lambda: file.resume(session, code), 403), (lambda: file.renew_code(ann), 401)):
        with pytest.raises(SessionRefusedError) as caught:
            refused()
        assert caught.value.status == status


def test_a_file_of_version_1_is_brought_up_and_loses_nothing(path, plan):
    file = SessionFile(path)
    session = file.add_session(plan)
    token, _ = file.join(session, "Ann")
    lane = file.read_trials(session.session_id)[0].pairs[0]
    file.rate(file.find_listener(session.session_id, token), lane.token, {"overall": 4}, "hm")
    file.close()
    old = path.with_name("old.sqlite")
    with sqlite3.connect(old) as con:
        con.executescript(VERSION_1.read_text(encoding="utf-8"))
        con.execute("ATTACH ? AS new", [str(path)])
        for table in ("sessions", "trials", "lanes", "lane_scores", "listeners", "ratings", "notes"):
            columns = ", ".join(row[1] for row in con.execute(f"PRAGMA main.table_info({table})"))
            columns = columns.replace("q_value", "coalesce(q_value, 0.5)")  # a track that was not tested had one, too
            con.execute(f"INSERT INTO {table} SELECT {columns} FROM new.{table}")
        con.execute("PRAGMA application_id=0x57686E63")
        con.execute("PRAGMA user_version=1")
    con.close()
    for _ in range(2):  # brought up once, then opened as it is
        file = SessionFile(old)
        ann = file.find_listener(session.session_id, token)
        assert file.read_answers(ann) == ({lane.lane_id: {"overall": 4}}, {lane.lane_id: "hm"})
        assert file.read_session(session.session_id) == session
        assert file.find_listener(session.session_id, file.resume(session, file.renew_code(ann))) == ann
        (score, *_) = file.read_trials(session.session_id)[0].pairs[0].scores
        assert score.q_value is not None and score.place_best is score.place_worst is None
        file.close()


def test_scores_come_back_as_planned_tested_or_not(path, plan):
    file = SessionFile(path)
    session = file.add_session(plan)
    kept = [lane.scores for trial in file.read_trials(session.session_id) for lane in trial.lanes]
    assert kept == [lane.scores for trial in plan.trials for lane in trial.lanes]
    scores = [score for one in kept for score in one]
    assert {score.q_value is None for score in scores} == {True, False}
    assert all(s.place is None or s.place_best <= s.place <= s.place_worst for s in scores)
    assert file.read_ratings(session.session_id).scores["q_value"].isna().any()
    file.close()


def test_an_upgrade_that_fails_half_way_leaves_the_file_as_it_was(path):
    with sqlite3.connect(path) as con:
        con.executescript(VERSION_1.read_text(encoding="utf-8"))
        con.execute("CREATE TABLE browsers (a)")  # in the way of the last statement of sessions_2.sql
        con.execute("PRAGMA application_id=0x57686E63")
        con.execute("PRAGMA user_version=1")
    con.close()

    def read_schema():
        with sqlite3.connect(path) as con:
            rows = con.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
            version = con.execute("PRAGMA user_version").fetchone()
        con.close()
        return rows, version

    before = read_schema()
    with pytest.raises(SessionFileError, match="browsers already exists"):
        SessionFile(path)
    assert read_schema() == before
