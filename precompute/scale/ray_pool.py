"""Workers as actors of Ray (extra `[ray]`): on one machine over its loopback, or on a cluster that runs already.

An actor loads the model once, holds one card where the model's device is a GPU, and shares the work folder with the
driver (on a cluster: a shared file system). Usage statistics, dashboard and log forwarding are off.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

from precompute.common.progress import format_duration
from precompute.common.scheduler import DONE, LOST, READY, Event, attempt
from precompute.errors import UserError

CONNECT_S = 60.0
Message = tuple[str, str, BaseException | None]  # kind, text and error of an event


def require_ray() -> None:
    """Raises UserError where ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("--launcher ray: ray is not installed; pip install 'whence[ray]', or use --launcher local")


class RayWorker:
    """The actor: opens its work once, then does one job after another."""

    def __init__(self, open_work: Callable[[int], Callable[[int], None]], number: int) -> None:
        self.open_work, self.number = open_work, number
        self.job: Callable[[int], None] | None = None

    def load(self) -> tuple[int, Message]:
        """The id of this process; and READY, or what went wrong."""

        def load() -> None:
            self.job = self.open_work(self.number)

        return os.getpid(), attempt(READY, load)

    def compute(self, number: int) -> tuple[int, Message]:
        """The id of this process; and DONE, or what went wrong."""
        job = self.job
        assert job is not None  # given jobs only when it is READY
        return os.getpid(), attempt(DONE, lambda: job(number))


class RayPool:
    """A `scheduler.Pool` of actors."""

    def __init__(
        self, open_work: Callable[[int], Callable[[int], None]], workers: int, cards: int = 0, address: str = ""
    ) -> None:
        """`open_work`: called in an actor with its number, gives what does a job; `cards`: GPUs of this machine, an
        actor holding one; `address`: of a cluster that runs, empty = started here. Raises UserError where Ray cannot
        be started or reached.
        """
        require_ray()
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray, self.open_work = ray, open_work
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
        try:
            if address:
                ray.init(address=address, configure_logging=False, log_to_driver=False)
            else:
                ray.init(num_cpus=workers, num_gpus=cards, _node_ip_address="127.0.0.1", **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"ray: cannot be started or reached ({str(error).splitlines()[0]})") from error
        self.actor = ray.remote(RayWorker).options(num_cpus=1, num_gpus=int(cards > 0), max_restarts=0)
        self.actors: dict[int, Any] = {}
        self.pending: dict[Any, int] = {}  # reference to an answer -> worker
        self.started: dict[int, float] = {}

    def start(self, worker: int) -> None:
        """Start an actor, in place of the one of that number where there is one."""
        self.stop(worker)
        self.started[worker] = time.monotonic()
        self.actors[worker] = self.actor.remote(self.open_work, worker)
        self.pending[self.actors[worker].load.remote()] = worker

    def give(self, worker: int, job: int) -> None:
        """Hand a job to an actor that waits."""
        self.pending[self.actors[worker].compute.remote(job)] = worker

    def wait(self, seconds: float) -> list[Event]:
        """Return events as soon as there are some; none after so many seconds."""
        ready, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=seconds) if self.pending else ([], [])
        events = []
        for reference in ready:
            worker = self.pending.pop(reference)
            try:
                process, message = self.ray.get(reference, timeout=CONNECT_S)
            except self.ray.exceptions.RayError as error:
                events.append(Event(worker, LOST, f"was lost ({type(error).__name__})"))
                continue
            if message[0] == READY:
                took = format_duration(time.monotonic() - self.started[worker])
                print(f"  worker {worker}: process {process}, ready in {took}", flush=True)
            events.append(Event(worker, *message))
        return events

    def stop(self, worker: int) -> None:
        """Kill an actor."""
        actor = self.actors.pop(worker, None)
        if actor is not None:
            self.pending = {ref: owner for ref, owner in self.pending.items() if owner != worker}
            self.ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """Kill all actors, and end Ray where it was started here."""
        for worker in list(self.actors):
            self.stop(worker)
        self.ray.shutdown()
