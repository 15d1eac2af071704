"""The password and the sign-in: where it comes from, cookies, limits, other sites, open redirects."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from explorer import settings as settings_module
from explorer.settings import Password, Settings, SettingsError, read_password
from explorer.web import guard as guard_module
from explorer.web.guard import HEADERS, PER_ADDRESS, SESSION_S, SESSIONS, Attempts, Guard, Sessions

WORD = "correct horse"
LOCAL = "http://127.0.0.1:7860"
HTML = {"Accept": "text/html,*/*"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def password():
    return Password.of(WORD)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def locked(server, store_path, password, clock):
    """The real application behind a guard of its own that asks for WORD, on a clock that stands still."""
    return Guard(server.app, Settings(store_path, password=password), clock)


def visit(server, base=LOCAL, **options):
    from starlette.testclient import TestClient

    return TestClient(server, base_url=base, follow_redirects=False, **options)


def sign_in(browser, word=WORD, **options):
    return browser.post("/signin", data={"password": word}, **options)


def guarded(answer, status):
    assert answer.status_code == status, answer.text
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    return answer


def test_a_proxy_on_this_machine_keeps_its_public_name(locked, server):
    secured = visit(locked, "https://music.example")
    assert secured.get("/signin").status_code == 200
    assert sign_in(secured, headers={"Origin": "https://music.example"}).status_code == 303
    guarded(visit(server, "https://music.example").get("/signin"), 421)  # without a password, nothing holds a page off


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 303),
        ("http://127.0.0.1:7860", 303),
        ("https://127.0.0.1:7860", 303),  # behind a TLS proxy that says nothing of it
        *(("null", 403), ("http://evil.example", 403), ("http://127.0.0.1:8888", 403), ("http://localhost:7860", 403)),
        *(("http://127.0.0.1:7860.evil.example", 403), ("file://127.0.0.1:7860", 403), ("", 403)),
    ],
)
def test_other_sites_may_not_post(locked, client, origin, status):
    headers = {} if origin is None else {"Origin": origin}
    assert sign_in(visit(locked), headers=headers).status_code == status
    if status == 403:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            headers = {"Origin": origin, "Host": "127.0.0.1:7860", "Access-Control-Request-Method": "POST"}
            guarded(client.request(method, "/gradio_api/queue/join", headers=headers), 403)


def test_sign_in_and_out(locked):
    browser = visit(locked)
    asked = guarded(browser.get("/?clip=3&track=<b>&x=%22", headers=HTML), 303)
    assert asked.headers["location"].startswith("/signin?next=%2F%3Fclip%3D3")
    form = guarded(browser.get(asked.headers["location"]), 200)
    assert "<b>" not in form.text and 'role="alert"></p>' in form.text and "autofocus" in form.text
    wrong = guarded(sign_in(browser, "wrong horse"), 401)
    assert "That is not the password." in wrong.text and "set-cookie" not in wrong.headers
    assert wrong.headers["cache-control"] == "no-store"
    right = guarded(browser.post(asked.headers["location"], data={"password": WORD}), 303)
    assert right.headers["location"].startswith("/?clip=3&track=")
    cookie = right.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/", f"Max-Age={SESSION_S}"} <= set(cookie.split("; "))
    assert "Secure" not in cookie and len(cookie.split("=")[1].split(";")[0]) == 43
    guarded(browser.get("/"), 200)
    guarded(browser.get("/audio/track/12", headers={"Range": "bytes=0-9"}), 206)
    guarded(browser.get("/gradio_api/upload"), 403)
    assert "Sign out" in guarded(browser.get("/signin"), 200).text

    token = cookie.split("=")[1].split(";")[0]
    assert token not in repr(vars(locked.sessions))  # only its hash is kept
    assert guarded(browser.get("/signout"), 200)  # asks first: a link must not sign anyone out
    left = guarded(browser.post("/signout"), 303)
    assert left.headers["location"] == "/signin" and "Max-Age=0" in left.headers["set-cookie"]
    stolen = visit(locked, headers={"Cookie": f"whence_7860={token}"})
    guarded(stolen.get("/"), 401)


def test_cookie_is_secure_over_https_and_apart_by_port(locked):
    assert "Secure" in sign_in(visit(locked, "https://localhost")).headers["set-cookie"]
    assert sign_in(visit(locked, "http://localhost:7861")).headers["set-cookie"].startswith("whence_7861=")


@pytest.mark.parametrize(
    "target",
    [
        *("//evil.example", "/\\evil.example", "\\/evil.example", "https://evil.example", "evil.example", "", "///x"),
        *("/\t/evil.example", "/\n/evil.example", " //evil.example", "/x\r\nSet-Cookie: a=b", "javascript:alert(1)"),
        *("/é", "/" + "a" * 1000, "/signin", "/signout", "/\x00"),
    ],
)
def test_sign_in_leads_nowhere_else(locked, target):
    browser = visit(locked)
    answer = sign_in(browser, params={"next": target})
    assert answer.headers["location"] == "/"


def test_the_form_is_read_up_to_its_limit_only(locked):
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b"password=" + b"x" * 1000, "more_body": True}

    async def send(message):
        sent.append(message)

    sent: list[dict] = []
    scope = {"type": "http", "method": "POST", "path": "/signin", "query_string": b"", "scheme": "http"}
    scope |= {"headers": [(b"host", b"localhost")], "client": ("1.2.3.4", 5)}
    with start_blocking_portal() as portal:  # in a thread: beside browser tests this one has a running loop
        portal.call(locked, scope, receive, send)
    assert sent[0]["status"] == 413 and len(read) == 5
    for body in (b"", b"\xff\xfe", b"password", b"&" * 4000, b'{"password": "correct horse"}'):
        locked.attempts = Attempts(Clock())
        guarded(visit(locked).post("/signin", content=body), 401)


def test_attempts_of_one_address_are_limited(locked, clock, monkeypatch):
    for _ in range(PER_ADDRESS):
        guarded(sign_in(visit(locked, client=("1.1.1.1", 1)), "wrong horse"), 401)
    clock.now += 20.5
    with monkeypatch.context() as patch:
        patch.setattr(Password, "check", lambda *_: pytest.fail("the hash was computed"))
        late = guarded(sign_in(visit(locked, client=("1.1.1.1", 2))), 429)
    assert late.headers["retry-after"] == "40" and "Too many attempts. Try again in 40 s." in late.text
    assert sign_in(visit(locked, client=("2.2.2.2", 1))).status_code == 303
    clock.now += 40
    assert sign_in(visit(locked, client=("1.1.1.1", 1))).status_code == 303


def test_attempts_are_limited_in_total_and_in_memory(clock):
    attempts = Attempts(clock)
    for n in range(30):
        assert attempts.take(f"10.0.0.{n}") == 0
        clock.now += 1
    assert [attempts.take(f"10.0.1.{n}") for n in range(1000)] == [30.0] * 1000
    assert len(attempts._failed) == 30
    clock.now += 30
    assert attempts.take("10.0.1.1") == 0 and attempts.take("10.0.1.1") > 0
    attempts.forgive("10.0.1.1")
    assert attempts.take("10.0.1.1") == 0


def test_hashing_leaves_the_loop_free_and_runs_twice_at_most(locked, monkeypatch):
    import threading
    import time
    from concurrent.futures import ThreadPoolExecutor

    running, most, loops = [0], [0], set()
    lock = threading.Lock()

    def slow(self, text):
        loops.add(threading.current_thread())
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return False

    monkeypatch.setattr(Password, "check", slow)
    with visit(locked) as browser, ThreadPoolExecutor(5) as pool:
        codes = list(pool.map(lambda _: sign_in(browser, "wrong horse").status_code, range(8)))
    assert sorted(codes) == [401] * 5 + [429] * 3  # those in flight count as failed already
    assert most[0] == guard_module.HASHES_AT_ONCE


def test_sessions_end(locked, clock):
    browser = visit(locked)
    sign_in(browser)
    clock.now += SESSION_S - 1
    assert browser.get("/config").status_code == 200
    clock.now += 1
    guarded(browser.get("/config"), 401)

    sessions = Sessions(clock)
    tokens = [sessions.open() for _ in range(SESSIONS + 1)]
    assert len(sessions._ends) == SESSIONS
    assert not sessions.holds(tokens[0]) and sessions.holds(tokens[1]) and sessions.holds(tokens[-1])
    clock.now += SESSION_S
    sessions.open()
    assert len(sessions._ends) == 1 and not sessions.holds("") and not sessions.holds("é")


def test_without_a_password_nobody_signs_in(client):
    for method in ("GET", "POST"):
        answer = client.request(method, "/signin?next=/%3Fclip=1", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/?clip=1")


def test_wrong_passwords_are_logged_without_their_words(locked, caplog):
    with caplog.at_level(logging.INFO):
        sign_in(visit(locked, client=("1.2.3.4", 5)), "nearly correct horse")
    assert "wrong password from 1.2.3.4" in caplog.text and "nearly" not in caplog.text


def test_password_is_kept_as_salted_hash_only(monkeypatch):
    one, two = Password.of(WORD), Password.of(WORD)
    assert one.salt != two.salt and one.digest != two.digest and len(one.salt) == 16
    assert WORD not in repr(Settings(Path("x"), password=one)) + repr(vars(one)) and repr(one) == "Password()"
    compared = []
    monkeypatch.setattr(settings_module.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    assert one.check(WORD) and not one.check(WORD + " ") and not one.check("")
    assert len(compared) == 3 and all(len(a) == len(b) == 64 for a, b in compared)


def test_password_comes_from_the_file_then_from_the_variable(tmp_path):
    file = tmp_path / "word"
    for text in (WORD, f"{WORD}\n", f"{WORD}\r\nsecond line\n", f"\ufeff{WORD}\n"):
        file.write_text(text, encoding="utf-8", newline="")
        environment = {"WHENCE_PASSWORD": "another password"}
        assert read_password(file, environment).check(WORD)
        assert not environment  # nothing that this process starts may see it
    assert read_password(None, {"WHENCE_PASSWORD": WORD}).check(WORD)
    assert read_password(None, {}) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the password is empty"),
        (b"\nsecond line\n", "the password is empty"),
        (b"seven77\n", "the password is too short: take at least 8 characters"),
        (b"a" * 1001, "the password is too long: take at most 1000 bytes"),
        (b"\xff\xfe\x00\x00aaaaaaaa", "it is not UTF-8 text"),
    ],
)
def test_unfit_passwords_are_refused(tmp_path, content, message):
    file = tmp_path / "word"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=message) as caught:
        read_password(file, {})
    assert "\n" not in str(caught.value) and "seven77" not in str(caught.value)
    if content.isascii() and b"\n" not in content:
        with pytest.raises(SettingsError, match=message):
            read_password(None, {"WHENCE_PASSWORD": content.decode()})


def test_unreadable_password_files_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        read_password(tmp_path / "none", {})
    with pytest.raises(SettingsError, match="Is a directory"):
        read_password(tmp_path, {})
