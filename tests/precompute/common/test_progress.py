"""Progress: bars in a terminal, lines in a log."""

from __future__ import annotations

import io
import time

import pytest

from precompute.common import progress as module
from precompute.common.progress import format_duration, progress


def test_a_log_gets_one_line_when_the_stage_ends(capsys) -> None:
    assert list(progress("tracks", [3, 1, 2])) == [3, 1, 2]
    assert capsys.readouterr().out == "  tracks: 3 of 3, 0 s\n"


def test_a_long_stage_tells_the_time_left_in_a_log(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_INTERVAL_S", 0.01)
    for _ in progress("tracks", range(3)):
        time.sleep(0.05)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  tracks: 1 of 3, ") and lines[0].endswith(" left")
    assert lines[-1] == "  tracks: 3 of 3, 0 s" and all("\r" not in line for line in lines)


def test_a_terminal_gets_a_bar_that_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    for _ in progress("tracks", range(3)):
        time.sleep(0.15)
    shown = screen.getvalue().split("\r")
    assert any("2/3" in state for state in shown) and shown[-1] == "  tracks: 3 of 3, 0 s\n"


def test_durations_are_written_in_words() -> None:
    assert [format_duration(s) for s in (0.4, 89, 90, 200)] == ["0 s", "89 s", "1 min 30 s", "3 min 20 s"]
    assert [format_duration(s) for s in (7199, 9000, 270_000)] == ["119 min 59 s", "2.5 h", "3.1 days"]
