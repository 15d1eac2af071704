"""Workers as processes of this machine: spawned, one pipe each, each loads the model once.

A worker whose driver is gone reads the end of its pipe and ends. This module knows nothing of what is computed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from precompute.scale.scheduler import DONE, FAILED, LOST, READY, Event, Worker, told
from precompute.scale.shards import Shard


class LocalPool:
    """A `scheduler.Pool`."""

    def __init__(self, make: Callable[[int], Worker]) -> None:
        """`make`: a worker from its number, in its own process; can be pickled."""
        self.make = make
        self.context = multiprocessing.get_context("spawn")
        self.processes: dict[int, Any] = {}
        self.pipes: dict[int, Connection] = {}

    def start(self, worker: int) -> None:
        self.stop(worker)
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=serve, args=(theirs, self.make, worker), daemon=True)
        process.start()
        theirs.close()
        self.processes[worker], self.pipes[worker] = process, ours

    def give(self, worker: int, shard: Shard) -> None:
        with suppress(OSError):  # it has ended: `wait` tells so
            self.pipes[worker].send(shard)

    def wait(self, seconds: float) -> list[Event]:
        events = []
        owners = {id(pipe): worker for worker, pipe in self.pipes.items()}
        for pipe in wait(list(self.pipes.values()), seconds):
            worker = owners[id(pipe)]
            try:
                events.append(Event(worker, *pipe.recv()))  # type: ignore[union-attr]
            except (EOFError, OSError):
                events.append(Event(worker, LOST, self._end(worker)))
        return events

    def _end(self, worker: int) -> str:
        """How an ended process ended."""
        self.pipes.pop(worker).close()
        process = self.processes.pop(worker)
        process.join()
        how = f"was killed (signal {-process.exitcode})" if process.exitcode < 0 else f"ended (code {process.exitcode})"
        return f"[process {process.pid}] {how}"

    def stop(self, worker: int) -> None:
        if worker in self.processes:
            self.pipes.pop(worker).close()
            process = self.processes.pop(worker)
            process.kill()
            process.join()

    def close(self) -> None:
        for worker in list(self.processes):
            self.stop(worker)


def serve(pipe: Connection, make: Callable[[int], Worker], number: int) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    try:
        work = make(number)
        pipe.send((READY, f"process {os.getpid()}"))
        while True:
            shard = pipe.recv()
            work.compute(shard)
            pipe.send((DONE,))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone
    except BaseException as error:
        cause, text = told(error)
        try:
            pipe.send((FAILED, text, cause))
        except OSError:
            return
