"""The command line: options, messages, ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "explorer", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "/nowhere.duckdb"], "explorer: no store at /nowhere.duckdb: make one with `make demo`"),
        (["--host", "0.0.0.0"], "host 0.0.0.0 can be reached by other machines: set a password"),
        (["--password-file", "/nowhere"], "explorer: cannot read the password file /nowhere: No such file"),
        (["--port", "0"], "explorer: port must lie between 1 and 65535, got 0"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_an_unfit_password_ends_in_one_line():
    done = run(WHENCE_PASSWORD="short")
    message = "explorer: the password is too short: take at least 8 characters\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_password_options(tmp_path, capsys, monkeypatch):
    from explorer.__main__ import parse_settings
    from explorer.settings import SettingsError

    file = tmp_path / "word"
    file.write_text("correct horse")
    file.chmod(0o600)
    arguments = ["--store", "x", "--host", "0.0.0.0"]
    assert parse_settings([*arguments, "--password-file", str(file)]).password.check("correct horse")
    assert capsys.readouterr().err == ""
    file.chmod(0o644)
    parse_settings([*arguments, "--password-file", str(file)])
    assert capsys.readouterr().err == f"explorer: others can read the password file: chmod 600 {file}\n"
    monkeypatch.setenv("WHENCE_PASSWORD", "correct horse")
    assert parse_settings(arguments).password.check("correct horse") and "WHENCE_PASSWORD" not in os.environ
    with pytest.raises(SettingsError, match=r"--password-file PATH, or WHENCE_PASSWORD.*--i-know"):
        parse_settings(arguments)
    assert parse_settings([*arguments, "--i-know"]).password is None


def test_the_start_says_who_can_listen():
    from explorer.__main__ import list_notes
    from explorer.settings import Password, Settings

    def said(**options):
        return list_notes(Settings(Path("x"), **options))

    word = Password.of("correct horse")
    assert said() == ["no password is asked for"]
    assert said(password=word) == ["a password is asked for"]
    assert said(host="::", allow_remote=True) == ["no password is asked for: whoever reaches this machine can listen"]
    assert said(host="::", password=word)[1:] == ["over http it travels unencrypted: put a TLS proxy in front"]


def test_help_needs_no_gradio():
    program = "import sys; sys.modules['gradio'] = sys.modules['starlette'] = None; import explorer.__main__ as m"
    command = [sys.executable, "-c", f"{program}; m.main(['--help'])"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "it wins over the variable WHENCE_PASSWORD" in " ".join(done.stdout.split())


def test_a_taken_port_gives_the_next_one():
    from explorer.__main__ import bind_port

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with bind_port("127.0.0.1", port) as listener:
            assert port < listener.getsockname()[1] < port + 50


def test_sessions_need_a_hosts_key(tmp_path, capsys):
    from explorer.__main__ import parse_settings
    from explorer.settings import Settings, SettingsError

    file, key = tmp_path / "s.sqlite", tmp_path / "key"
    made = parse_settings(["--sessions", str(file)], "printed key")
    assert made.sessions == file and made.host_key.check("printed key")
    key.write_text("a key of mine\n")
    key.chmod(0o600)
    named = parse_settings(["--sessions", str(file), "--host-key-file", str(key)], "printed key")
    assert named.host_key.check("a key of mine") and not named.host_key.check("printed key")
    assert "a key of mine" not in repr(named)
    key.chmod(0o644)
    parse_settings(["--sessions", str(file), "--host-key-file", str(key)])
    assert capsys.readouterr().err == f"explorer: others can read the host's key file: chmod 600 {key}\n"
    with pytest.raises(SettingsError, match="--sessions PATH"):
        parse_settings(["--host-key-file", str(key)])
    with pytest.raises(SettingsError, match="--sessions PATH and a host's key"):
        Settings(tmp_path / "store.duckdb", sessions=file)
    assert parse_settings([]).sessions is None
