"""Blind is blind: everything that a listener's browser gets, read byte by byte. And who may see what."""

from __future__ import annotations

import io
import json
import re

import pytest
import soundfile

from explorer.store.errors import SessionFileError
from support.listening import CLIPS_FROM, KEY, TRACKS_FROM, enter, far_store, join, make, rate, settings_of


@pytest.fixture(scope="module")
def far(store_path, tmp_path_factory):
    return far_store(store_path, tmp_path_factory.mktemp("far") / "shop")


@pytest.fixture(scope="module")
def words(far):
    """Read before the server has the file."""
    return words_of(far)


@pytest.fixture(scope="module")
def sessions_server(far, words, tmp_path_factory):
    from explorer.server import create_server

    return create_server(settings_of(far, tmp_path_factory.mktemp("sessions") / "sessions.sqlite"))


@pytest.fixture(scope="module")
def visit(sessions_server):
    """visit() -> a browser of its own. The first keeps the application running."""
    from starlette.testclient import TestClient

    with TestClient(sessions_server, base_url="http://127.0.0.1:7860"):
        yield lambda: TestClient(sessions_server, base_url="http://127.0.0.1:7860", follow_redirects=False)


@pytest.fixture(scope="module")
def host(visit):
    return enter(visit())


CLIPS = [CLIPS_FROM + 1, CLIPS_FROM + 2]


def words_of(far):
    """Titles and the like of every track and clip, and numbers of every score, as they could stand in an answer."""
    import duckdb

    with duckdb.connect(str(far), read_only=True) as con:
        rows = con.execute("SELECT title, composer, collection, work_id, audio_path, source FROM tracks").fetchall()
        prompts = con.execute("SELECT prompt, audio_path FROM clips WHERE prompt IS NOT NULL").fetchall()
        columns = "score, score_norm, std_error, p_value, q_value"
        scores = con.execute(f"SELECT {columns} FROM scores WHERE rank <= 40").fetchall()
    words = {str(cell) for row in (*rows, *prompts) for cell in row if cell and len(str(cell)) > 3}
    numbers = {f"{abs(value):.4g}" for row in scores for value in row if value is not None and abs(value) not in (0, 1)}
    return words - {"test", "piano"}, {text for text in numbers if len(text.replace(".", "")) >= 4}


def test_nothing_that_reaches_a_listener_tells_lanes_apart(visit, host, words):
    session = make(host, clips=CLIPS, starts="strongest")
    code, listener = session["code"], visit()
    seen = []

    def get(address, **options):
        answer = listener.request(options.pop("method", "GET"), address, **options)
        assert answer.status_code == 200, (address, answer.text)
        seen.append((address, answer))
        return answer

    page = get(f"/session/{code}").text
    get(f"/session/{code}/state")
    joined = get(f"/session/{code}/join", method="POST", json={"nickname": "Clara", "agreed": True}).json()
    assert set(joined) == {"joined", "resume"}
    get(f"/session/{code}/resume", method="POST", json={"resume": joined["resume"]})
    renewed = get(f"/session/{code}/code", method="POST", json={}).json()
    assert set(renewed) == {"resume"} and renewed != {"resume": joined["resume"]}
    state = get(f"/session/{code}/state").json()
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        script = get(address).text
        for name in re.findall(r'from "([^"]+)"', script):
            get(name if name.startswith("/") else f"/static/session/{name.removeprefix('./')}")
    sizes, heads = set(), set()
    for pair in state["pairs"]:
        assert set(pair) == {"clip", "lane", "seconds", "answers", "note"}
        for token in (pair["clip"], pair["lane"]):
            sound = get(f"/session/{code}/audio/{token}")
            sizes.add(len(sound.content))
            heads.add((sound.content[:44], tuple(sorted(sound.headers.items()))))
            kind = soundfile.info(io.BytesIO(sound.content))
            assert (kind.samplerate, kind.frames, kind.subtype) == (44100, 66150, "PCM_16")
        body = {"lane": pair["lane"], "answers": {"overall": 3}, "note": "hm"}
        get(f"/session/{code}/rate", method="POST", json=body)
    get(f"/session/{code}/state")
    assert len(sizes) == 1 and len(heads) == 1  # of all lanes of all trials: same size, same header, same HTTP headers
    sounds = [answer.content for address, answer in seen if "/audio/" in address]
    assert len(set(sounds)) == len({pair[name] for pair in state["pairs"] for name in ("clip", "lane")})
    assert {pair["seconds"] for pair in state["pairs"]} == {1.5}

    texts, numbers = words
    for address, answer in seen:
        text = answer.content.decode("latin-1") + repr(answer.headers.raw) + address
        unescaped = answer.text if "json" in answer.headers.get("content-type", "") else ""
        assert not re.search(rf"{TRACKS_FROM // 10_000}\d{{4}}(?!\d)|{CLIPS_FROM // 10_000}\d{{4}}(?!\d)", unescaped)
        if "/static/" in address or address == "/favicon.ico":
            continue  # the same for everybody: it was read above for what it loads
        assert not [word for word in texts if word in text or word in unescaped], address
        assert not re.search(r"(?i)etag|last-modified|decoy|random|duplicate|\bmatch\b|score_|rank|track_id", unescaped)
        assert not re.search(r"start_s|moment|loudest", unescaped)
        if "json" in answer.headers.get("content-type", ""):
            assert not [number for number in numbers if number in unescaped], address
        assert not {"etag", "last-modified", "content-disposition"} & set(answer.headers) or address.endswith(code)


def test_the_order_of_lanes_and_tokens_tells_no_role(host, visit):
    """Over many listeners every role comes at every place about as often."""
    session = make(host, clips=CLIPS[:1], methods=["unlearning"])
    places = {}
    for number in range(60):
        listener = visit()
        for place, pair in enumerate(join(listener, session["code"], f"n{number}")["pairs"]):
            places.setdefault(pair["lane"], []).append(place)
    means = [sum(of) / len(of) for of in places.values()]
    assert len(means) == 8 and all(2.5 < one < 4.5 for one in means)  # 3.5 by chance; four standard errors


def test_the_reveal_waits_for_the_host_and_ends_the_ratings(host, visit):
    session = make(host, clips=CLIPS)
    code, listener = session["code"], visit()
    state = join(listener, code, "Clara")
    lane = state["pairs"][0]["lane"]
    assert rate(listener, code, lane, overall=4).json() == {"saved": True}
    closed = listener.get(f"/session/{code}/reveal")
    assert closed.status_code == 403 and closed.json()["detail"] == "the host has not opened the reveal yet"
    assert host.post(f"/host/sessions/{session['session_id']}/state", json={"state": "revealed"}).status_code == 200
    trials = listener.get(f"/session/{code}/reveal").json()["trials"]
    pairs = [pair for trial in trials for pair in trial["pairs"]]
    assert {pair["role"] for pair in pairs} == {"top", "random", "decoy", "duplicate", "match"}
    own = next(pair for pair in pairs if pair["lane"] == lane)
    assert own["mine"] == 4 and own["everybody"] == {"mean": 4.0, "count": 1}
    assert all(pair["title"] and (pair["scores"] or pair["role"] == "match") for pair in pairs)
    assert rate(listener, code, lane, overall=1).status_code == 409
    assert visit().get(f"/session/{code}/reveal").status_code == 401


def test_an_open_session_shows_what_is_heard(host, visit):
    open_one = make(host, clips=CLIPS, blind=False, duplicate=False, match=False)
    listener = visit()
    state = join(listener, open_one["code"], "Clara")
    assert all(pair["shown"]["title"] and pair["shown"]["scores"] for pair in state["pairs"])
    assert listener.get(f"/session/{open_one['code']}/reveal").status_code == 200
    assert listener.get("/").status_code == 200


def test_the_explorer_is_held_off_while_a_blind_session_takes_ratings(host, visit):
    session = make(host, clips=CLIPS)
    listener = visit()
    for path in ("/", f"/audio/track/{TRACKS_FROM + 12}", "/config"):
        assert listener.get(path).status_code == 200
    join(listener, session["code"], "Clara")
    for path in ("/", f"/audio/track/{TRACKS_FROM + 12}", "/config", "/gradio_api/queue/data?session_hash=a"):
        held = listener.get(path)
        assert held.status_code == 403 and "blind listening session" in held.text
    for path in (f"/session/{session['code']}", "/static/whence/lane.js", "/favicon.ico", "/host"):
        assert listener.get(path).status_code == 200
    assert host.get("/").status_code == visit().get("/").status_code == 200
    host.post(f"/host/sessions/{session['session_id']}/state", json={"state": "closed"})
    assert listener.get("/").status_code == 200


def test_only_the_hosts_key_opens_the_hosts_pages(host, visit):
    session = make(host, clips=CLIPS)
    base = f"/host/sessions/{session['session_id']}"
    listener = visit()
    join(listener, session["code"], "Clara")
    gets = ["/host/state", base, f"{base}/export.csv", f"{base}/export.parquet", f"{base}/pictures/means.svg"]
    posts = ["/host/sessions", f"{base}/state", f"{base}/delete", f"{base}/listeners/1/delete"]
    for browser in (listener, visit()):
        for path in gets:
            assert browser.get(path).status_code == 401, path
        for path in posts:
            assert browser.post(path, json={"state": "revealed"}).status_code == 401, path
    assert host.get(base).json()["state"] == "open"
    wrong = visit().post("/host/enter", json={"key": "not the key"})
    assert wrong.status_code == 403 and "set-cookie" not in wrong.headers
    assert visit().post("/host/enter", json={"key": KEY}, headers={"Origin": "http://evil.example"}).status_code == 403
    other = enter(visit())
    assert other.get(base).status_code == 200
    assert other.post("/host/leave", json={}).status_code == 200 and other.get(base).status_code == 401
    codes = [visit().post("/host/enter", json={"key": f"wrong key {i}"}).status_code for i in range(7)]
    assert codes[-1] == 429  # as for wrong passwords


def test_requests_that_make_no_sense_are_refused_in_one_sentence(host, visit):
    session = make(host, clips=CLIPS)
    code, listener = session["code"], visit()
    lane = join(listener, code, "Clara")["pairs"][0]["lane"]
    home = f"/session/{code}"
    nobody = visit()
    for browser, path, body, status in (
        (nobody, f"{home}/join", {"nickname": "Bob"}, 400),
        (nobody, f"{home}/join", {"nickname": "Bob", "agreed": "yes"}, 400),
        (nobody, f"{home}/join", {"nickname": 7, "agreed": True}, 400),
        (nobody, f"{home}/join", {"nickname": "clara", "agreed": True}, 409),
        (nobody, f"{home}/join", {"nickname": "\ud800", "agreed": True}, 400),
        (nobody, "/session/nowhere/join", {"nickname": "Bob", "agreed": True}, 404),
        (nobody, f"{home}/rate", {"lane": lane, "answers": {"overall": 3}}, 401),
        (nobody, f"{home}/leave", {}, 401),
        (listener, f"{home}/rate", {"lane": lane, "answers": [3]}, 400),
        (listener, f"{home}/rate", {"lane": lane, "answers": {"overall": "=1+1"}}, 400),
        (listener, f"{home}/rate", {"lane": "x", "answers": {"overall": 3}}, 404),
        (listener, f"{home}/rate", {"lane": lane, "note": "x" * 30_000}, 413),
        (listener, f"{home}/rate", [1], 400),
    ):
        answer = browser.post(path, content=json.dumps(body))
        assert answer.status_code == status, (path, body, answer.text)
        assert "\n" not in answer.json()["detail"] and answer.headers["cache-control"] == "no-store"
    assert listener.post(f"{home}/rate", content=b"{").status_code == 400
    assert listener.get(f"{home}/audio/nothing").status_code == 404
    assert nobody.get(f"{home}/audio/{lane}").status_code == 401
    assert nobody.get("/session/nowhere/state").status_code == 404
    second = make(host, clips=CLIPS[:1])
    join(listener, second["code"], "Clara")
    assert listener.get(f"/session/{second['code']}/audio/{lane}").status_code == 404  # tokens hold in their session
    assert listener.get(f"{home}/audio/{lane}").status_code == 200  # and joining another session loses nothing


def test_a_listener_deletes_their_own_data_and_the_host_anybodys(host, visit):
    session = make(host, clips=CLIPS)
    code, listener, other = session["code"], visit(), visit()
    for browser, name in ((listener, "Clara"), (other, "Robert")):
        rate(browser, code, join(browser, code, name)["pairs"][0]["lane"], "mine", overall=4)
    assert listener.post(f"/session/{code}/leave").json() == {"deleted": True}
    assert "nickname" not in listener.get(f"/session/{code}/state").json()
    left = host.get(f"/host/sessions/{session['session_id']}").json()["listeners"]
    assert [one["nickname"] for one in left] == ["Robert"]
    path = f"/host/sessions/{session['session_id']}/listeners/{left[0]['listener_id']}/delete"
    assert host.post(path).status_code == 200
    assert "nickname" not in other.get(f"/session/{code}/state").json()
    assert host.get(f"/host/sessions/{session['session_id']}").json()["listeners"] == []


def test_the_password_stands_before_sessions_too(sessions_server, far):
    from starlette.testclient import TestClient

    from explorer.settings import Password, Settings
    from explorer.web.guard import HEADERS, Guard

    locked = Guard(sessions_server.app, Settings(far, password=Password.of("correct horse")))
    stranger = TestClient(locked, base_url="http://127.0.0.1:7860", follow_redirects=False)
    for path in ("/session/x", "/session/x/state", "/host", "/host/state", "/static/session/listen.js"):
        answer = stranger.get(path)
        assert answer.status_code == 401
        assert all(answer.headers[name] == value for name, value in HEADERS.items())
    assert (
        stranger.get("/session/x", headers={"Accept": "text/html"}).headers["location"] == "/signin?next=%2Fsession%2Fx"
    )


def test_without_a_file_sessions_are_off_and_say_how_to_turn_them_on(client):
    for path in ("/host", "/host/state", "/session/abc", "/session/abc/state"):
        answer = client.get(path)
        assert answer.status_code == 404 and "--sessions PATH" in answer.json()["detail"]
    assert client.post("/session/abc/join", json={}).status_code == 404


def test_a_second_server_on_the_same_file_is_told_so(sessions_server, visit, far):
    from explorer.server import create_server

    middleware = next(one for one in sessions_server.app.user_middleware if one.cls.__name__ == "BlindGuard")
    with pytest.raises(SessionFileError, match="in use by another explorer"):
        create_server(settings_of(far, middleware.kwargs["file"].path))


def test_a_resume_code_opens_the_same_session_elsewhere(host, visit):
    session = make(host, clips=CLIPS)
    code, desk, phone = session["code"], visit(), visit()
    home = f"/session/{code}"
    own = desk.post(f"{home}/join", json={"nickname": "Clara", "agreed": True}).json()["resume"]
    pairs = desk.get(f"{home}/state").json()["pairs"]
    rate(desk, code, pairs[3]["lane"], "hm", overall=4)
    assert phone.get("/").status_code == 200
    answer = phone.post(f"{home}/resume", json={"resume": f" {own.lower().replace('-', ' ')} "})
    assert answer.status_code == 200 and own not in answer.text
    there = phone.get(f"{home}/state").json()
    assert there["nickname"] == "Clara" and there["pairs"] == desk.get(f"{home}/state").json()["pairs"]
    assert (there["pairs"][3]["answers"], there["pairs"][3]["note"]) == ({"overall": 4}, "hm")
    assert phone.get("/").status_code == 403  # as blind as the browser that joined
    rate(phone, code, pairs[4]["lane"], overall=2)
    assert desk.get(f"{home}/state").json()["pairs"][4]["answers"] == {"overall": 2}
    assert len(host.get(f"/host/sessions/{session['session_id']}").json()["listeners"]) == 1
    assert visit().post(f"{home}/code", json={}).status_code == 401
    host.post(f"/host/sessions/{session['session_id']}/state", json={"state": "revealed"})
    late = visit()
    assert late.post(f"{home}/resume", json={"resume": own}).status_code == 200
    assert late.get(f"{home}/reveal").status_code == 200
    assert phone.post(f"{home}/leave").json() == {"deleted": True}  # in all browsers
    assert "nickname" not in desk.get(f"{home}/state").json()
    other = make(host, clips=CLIPS[:1])
    refused = visit().post(f"/session/{other['code']}/resume", json={"resume": own})
    assert refused.status_code == 403 and "set-cookie" not in refused.headers


def test_resume_codes_cannot_be_guessed_at_leisure(store, tmp_path):
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from explorer.listening_sessions.file import SessionFile
    from explorer.listening_sessions.http import add_shared
    from explorer.listening_sessions.listener_routes import add_listeners
    from explorer.web.guard import PER_ADDRESS, WINDOW_S
    from support.listening import plan_of

    file, app, now = SessionFile(tmp_path / "s.sqlite"), FastAPI(), [0.0]
    try:
        session = file.add_session(plan_of(store, clips=[1]))
        _, right = file.join(session, "Clara")
        add_shared(app)
        add_listeners(app, store, file, clock=lambda: now[0])
        browser = TestClient(app)

        def give(code):
            return browser.post(f"/session/{session.code}/resume", json={"resume": code}).status_code

        assert [give(right) for _ in range(2 * PER_ADDRESS)] == [
            200
        ] * 2 * PER_ADDRESS  # a right one counts for nothing
        assert [give(f"wrong {i}") for i in range(PER_ADDRESS)] == [403] * PER_ADDRESS
        assert give(right) == give("wrong") == 429
        now[0] = WINDOW_S + 1
        assert give("x" * 101) == 400 and give(right) == 200
    finally:
        file.close()
