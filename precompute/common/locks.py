"""Locks between processes: one at a time changes a store or an index, or computes in a work folder.

A lock is an flock on a small file beside or in what it guards. The kernel frees it when its holder ends, however that
happens, so a lock file that a killed process left behind blocks nobody. A holder removes the file when it is done.
Readers take no lock: what they open is replaced by rename. Times are in seconds.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from precompute.errors import UserError

WAIT_S = 600.0  # longest wait for another command that changes the same store or index
_POLL_S = 0.1
_held: set[int] = set()  # descriptors of the locks that this process holds


@contextmanager
def lock_store(store: Path) -> Iterator[None]:
    """Hold the lock of a store, from the first look at it until its new version is renamed into place.

    Waits for another command, and says so. Raises UserError where that takes longer than WAIT_S, or the store's folder
    cannot be written. Does not nest.
    """
    store = store.resolve()
    with _hold(store.with_name(f".{store.name}.lock"), store, WAIT_S):
        yield


@contextmanager
def lock_index(folder: Path) -> Iterator[None]:
    """Hold the lock of an index, whose folder is there; as `lock_store`, whose lock is taken first where both are."""
    with _hold(folder / ".lock", folder, WAIT_S):
        yield


@contextmanager
def lock_work(folder: Path) -> Iterator[None]:
    """Hold the lock of a work folder, which is made where there is none. Raises UserError at once where it is held."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name another in [output] work") from error
    with _hold(folder / ".lock", folder, 0.0):
        yield


@contextmanager
def _hold(file: Path, guarded: Path, wait_s: float) -> Iterator[None]:
    handle = _wait_for(file, guarded, wait_s)
    _held.add(handle)
    try:
        yield
    finally:
        if handle in _held:  # a forked child has closed it
            _held.discard(handle)
            file.unlink(
                missing_ok=True
            )  # before it is freed: whoever waits sees that the name is gone, and makes it anew
            os.close(handle)


def _wait_for(file: Path, guarded: Path, wait_s: float) -> int:
    """A descriptor of the lock file, locked; prints one line where it has to wait. Raises UserError."""
    try:
        handle, began = _try_lock(file), time.monotonic()
        if handle is None and wait_s:  # two blanks: explorer/web/jobs.py shows such lines to a listener
            print(f"  waiting: another command is changing {guarded}", flush=True)
        while handle is None and time.monotonic() - began < wait_s:
            time.sleep(_POLL_S)
            handle = _try_lock(file)
    except OSError as error:
        raise UserError(f"{guarded}: its folder cannot be written ({error.strerror}); nothing was changed") from error
    if handle is not None:
        return handle
    if wait_s:
        raise UserError(
            f"{guarded}: another command has been changing it for {wait_s / 60:.3g} min; start this one again when"
            " that has ended"
        )
    raise UserError(
        f"{guarded}: another run or pass is at work in this folder; wait for it, or name another in [output] work"
    )


def _try_lock(file: Path) -> int | None:
    """A descriptor of the lock file, locked; None where another process holds it. Raises OSError."""
    while True:
        handle = _open(file)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder removed the file between our two calls: a new one counts now


def _open(file: Path) -> int:
    """Open a lock file, made where there is none; one that another user left can be read, which is enough here."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except PermissionError:
        if not file.exists():
            raise
        return os.open(file, os.O_RDONLY | os.O_NOFOLLOW)


def _close_in_child() -> None:
    """A forked worker must not keep alive the lock of a parent that was killed."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
