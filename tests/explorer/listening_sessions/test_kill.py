"""A server is killed while twenty listeners rate: whatever it had acknowledged is there when it comes back."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from explorer.listening_sessions.file import SessionFile
from support.listening import KEY, wanted

REPOSITORY = Path(__file__).resolve().parents[3]
LISTENERS = 20
LEAST_SAVED = 200  # acknowledged before the process is killed
START_S = 120  # on a machine that is busy with other things


@pytest.fixture
def serve(store_path, tmp_path):
    """serve(port) -> a process that serves; all are stopped at the end."""
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    running = []

    def start(port):
        command = [sys.executable, "-m", "explorer", "--store", str(store_path), "--port", str(port)]
        command += ["--sessions", str(tmp_path / "sessions.sqlite"), "--host-key-file", str(key)]
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
        running.append(process)
        limit = time.monotonic() + START_S
        while time.monotonic() < limit:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                with socket.create_connection(("127.0.0.1", port), 1):
                    return process
            except OSError:
                time.sleep(0.1)
        raise TimeoutError((tmp_path / "log").read_text())

    yield start
    for process in running:
        process.kill()
        process.wait(10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browser:
    """One connection with its cookies."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies = ""

    def ask(self, path, body=None):
        headers = {"Cookie": self.cookies, "Content-Type": "application/json"}
        self.connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        if answer.headers["Set-Cookie"]:
            self.cookies = answer.headers["Set-Cookie"].split(";")[0]
        return json.loads(text)


@pytest.mark.slow
def test_kill_nine_loses_no_rating_that_was_acknowledged(serve, tmp_path):
    port = free_port()
    process = serve(port)
    host = Browser(port)
    host.ask("/host/enter", {"key": KEY})
    code = host.ask("/host/sessions", wanted(clips=[1, 2, 3]))["code"]
    saved, saving = [], threading.Lock()  # (nickname, lane, question, value), in the order of acknowledgement
    cookies = {}
    enough, stopped = threading.Event(), []

    def take_part(number):
        try:
            browser = Browser(port)
            browser.ask(f"/session/{code}/join", {"nickname": f"n{number}", "agreed": True})
            cookies[f"n{number}"] = browser.cookies
            pairs = browser.ask(f"/session/{code}/state")["pairs"]
            for turn in range(1000):
                lane, value = pairs[turn % len(pairs)]["lane"], 1 + (number + turn) % 5
                answers = {"overall": value, "melody": 6 - value}
                browser.ask(f"/session/{code}/rate", {"lane": lane, "answers": answers})
                with saving:
                    saved.extend((f"n{number}", lane, question, given) for question, given in answers.items())
                    if len(saved) >= LEAST_SAVED and len(cookies) == LISTENERS:
                        enough.set()
        except (OSError, http.client.HTTPException):
            stopped.append(number)

    threads = [threading.Thread(target=take_part, args=(number,)) for number in range(LISTENERS)]
    for thread in threads:
        thread.start()
    assert enough.wait(120)
    os.kill(process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    assert process.wait(10) == -signal.SIGKILL
    assert len(stopped) == LISTENERS  # all were in the middle of it

    kept = SessionFile(tmp_path / "sessions.sqlite")
    try:
        session = kept.find_session(code)
        token = {lane.lane_id: lane.token for trial in kept.read_trials(session.session_id) for lane in trial.pairs}
        rows = kept.read_ratings(session.session_id).ratings
        there = {(row.nickname, token[row.lane_id], row.question): row.value for row in rows.itertuples()}
    finally:
        kept.close()
    last = {(name, lane, question): value for name, lane, question, value in saved}
    assert len(last) > 100
    lost = {key for key in last if key not in there}
    assert not lost
    # A later answer to the same pair may have been kept without its acknowledgement having arrived; never an older one.
    changed = {key for key, value in last.items() if there[key] != value}
    assert len({name for name, _, _ in changed}) == len(changed) / 2 <= LISTENERS

    again = free_port()
    process = serve(again)
    for name, cookie in cookies.items():
        browser = Browser(again)
        browser.cookies = cookie.replace(f"_{port}_", f"_{again}_")  # its name holds the port
        state = browser.ask(f"/session/{code}/state")
        assert state["nickname"] == name
        answers = {pair["lane"]: pair["answers"] for pair in state["pairs"]}
        for who, lane, question in last:
            if who == name:
                assert answers[lane][question] == there[who, lane, question]
    process.send_signal(signal.SIGINT)
    process.wait(30)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["key", "log", "sessions.sqlite"]  # closed in order: whole without a log beside it
