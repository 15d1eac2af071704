"""New clips that listeners ask for: one at a time, each by `python -m precompute attribute` in a process of its own.

Only the words of its progress leave this module, never a path of the server.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("explorer")

TIME_LIMIT_S = 900  # of one clip
LINE_CHARS = 200
_PATH = re.compile(r"\S*[/\\]\S*")
# In the words of `precompute/index/attribution.py`: change both together; so the lines of progress in `_outcome`.
_CLIP = re.compile(r"^(?:published .* with clip (\d+)|.* holds clip (\d+) already:)")


@dataclass(frozen=True)
class JobState:
    """State of the work on a clip, as the page shows it."""

    name: str  # 'idle', 'running', 'done' or 'failed'
    text: str = ""  # one line for the listener
    clip_id: int | None = None  # of a clip that is done
    number: int = 0  # counts the clips that were asked for


def build_command(config: Path, store: Path) -> list[str]:
    """The command line of an attribution, without the clip."""
    return [sys.executable, "-u", "-m", "precompute", "attribute", "--config", str(config), "--store", str(store)]


class Jobs:
    """At most one process; safe to share between threads."""

    def __init__(self, base: Sequence[str], done: Callable[[], None], limit_s: float = TIME_LIMIT_S) -> None:
        """`base`: the command; `done`: called, in a thread of its own, when it has published a new version."""
        self._base, self._done, self._limit_s = list(base), done, limit_s
        self._lock = threading.Lock()
        self._held = False  # somebody's upload is read, or a process runs
        self._state = JobState("idle")
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.stop)

    @property
    def state(self) -> JobState:
        """The state of the latest work."""
        return self._state

    def reserve(self) -> bool:
        """True for one caller at a time, who then calls `start` or `release`."""
        with self._lock:
            free, self._held = not self._held, True
            return free

    def release(self) -> None:
        """Let the next caller reserve."""
        with self._lock:
            self._held = False

    def start(self, arguments: Sequence[str], upload: Path | None = None) -> JobState:
        """Run the command, which `reserve` was called for; `upload` is removed when it has ended."""
        self._state = JobState("running", "Starting", number=self._state.number + 1)
        threading.Thread(target=self._run, args=([*self._base, *arguments], upload), daemon=True).start()
        return self._state

    def stop(self) -> None:
        """End the process, where there is one."""
        process = self._process
        if process is not None and process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # its own group: forked workers end too
            except ProcessLookupError:
                log.info("the attribution had just ended")

    def _stop_late(self, late: threading.Event) -> None:
        late.set()
        self.stop()

    def _run(self, line: list[str], upload: Path | None) -> None:
        number, late = self._state.number, threading.Event()
        try:
            outcome = self._await_outcome(line, number, late)
        except Exception:
            log.exception("an attribution could not be run")
            outcome = JobState("failed", "It could not be started; the server's log says why.", number=number)
        finally:
            if upload is not None:
                upload.unlink(missing_ok=True)
        self._process = None
        self._state = outcome
        self.release()

    def _await_outcome(self, line: list[str], number: int, late: threading.Event) -> JobState:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._process = process
        timer = threading.Timer(self._limit_s, self._stop_late, [late])
        timer.start()
        clip_id, last = None, ""
        try:
            for text in process.stdout or ():
                published = _CLIP.match(text)
                clip_id = int(published[1] or published[2]) if published else clip_id
                last = text.strip() or last
                if text.startswith(("  ", "search")):
                    self._state = JobState("running", hide_paths(text), number=number)
            code = process.wait()
        finally:
            timer.cancel()
        if code == 0 and clip_id is not None:
            try:
                self._done()
            except Exception:
                log.exception("the new version of the store could not be opened")
                return JobState(
                    "failed", f"Clip {clip_id} is in the store: it shows when the explorer is restarted.", None, number
                )
            return JobState("done", f"Clip {clip_id} is ready.", clip_id, number)
        log.warning("an attribution ended with code %s: %s", code, last)
        if late.is_set():
            return JobState(
                "failed", f"It took longer than {self._limit_s / 60:.0f} minutes and was stopped.", number=number
            )
        explained = last.startswith("precompute: ")
        reason = hide_paths(last.removeprefix("precompute: ")) if explained else "it failed; the server's log says why"
        return JobState("failed", f"Not possible: {reason}", number=number)


def hide_paths(text: str) -> str:
    """One line without anything that looks like a path."""
    return _PATH.sub("…", "".join(c for c in text.strip() if c.isprintable()))[:LINE_CHARS]
