"""Workers as processes of this machine: spawned, one pipe each, each loads the model once.

A worker whose driver is gone reads the end of its pipe and ends. CPU threads are shared out evenly.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from precompute.config import RunConfig
from precompute.scale.scheduler import DONE, FAILED, LOST, READY, Event
from precompute.scale.shards import Shard


class LocalPool:
    """A `scheduler.Pool`."""

    def __init__(self, config: RunConfig, folder: Path, workers: int) -> None:
        self.config, self.folder = config, folder
        self.threads = max(1, _threads() // workers)
        self.context = multiprocessing.get_context("spawn")
        self.processes: dict[int, Any] = {}
        self.pipes: dict[int, Connection] = {}

    def start(self, worker: int) -> None:
        self.stop(worker)
        ours, theirs = self.context.Pipe()
        arguments = (theirs, self.config, self.folder, worker, self.threads)
        process = self.context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self.processes[worker], self.pipes[worker] = process, ours

    def give(self, worker: int, shard: Shard) -> None:
        try:
            self.pipes[worker].send(shard)
        except OSError:
            pass  # it has ended: `wait` tells so

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


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def serve(pipe: Connection, config: RunConfig, folder: Path, worker: int, threads: int) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    import torch

    from precompute.scale.work import Work, on_device, told

    torch.set_num_threads(threads)
    try:
        work = Work.attach(on_device(config, worker), folder)
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
