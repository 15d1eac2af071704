"""Workers as actors of Ray (extra `[ray]`): on one machine over its loopback, or on a cluster that runs already.

An actor loads the model once, holds one card where the model's device is a GPU, and shares the work folder with the
driver (on a cluster: a shared file system). Usage statistics, dashboard and log forwarding are off.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

from precompute.errors import UserError
from precompute.scale.scheduler import DONE, FAILED, LOST, READY, Event, Worker, told
from precompute.scale.shards import Shard

CONNECT_S = 60.0


def require() -> None:
    """Raises UserError where ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("--launcher ray: ray is not installed; pip install 'whence[ray]', or use --launcher local")


class RayWorker:
    """The actor."""

    def __init__(self, make: Callable[[int], Worker], number: int) -> None:
        self.make, self.number = make, number
        self.work: Any = None

    def load(self) -> tuple[str, str, str]:
        """READY, or what went wrong; as `scheduler.Event` has it."""
        try:
            self.work = self.make(self.number)
        except BaseException as error:
            cause, text = told(error)
            return FAILED, text, cause
        return READY, f"process {os.getpid()}", ""

    def compute(self, shard: Shard) -> tuple[str, str, str]:
        """DONE, or what went wrong."""
        try:
            self.work.compute(shard)
        except BaseException as error:
            cause, text = told(error)
            return FAILED, text, cause
        return DONE, "", ""


class RayPool:
    """A `scheduler.Pool`."""

    def __init__(self, make: Callable[[int], Worker], workers: int, cards: int = 0, address: str = "") -> None:
        """`make`: a worker from its number, in the actor; `cards`: GPUs of this machine, an actor holding one."""
        require()
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray, self.make = ray, make
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
        self.pending: dict[Any, int] = {}

    def start(self, worker: int) -> None:
        self.stop(worker)
        self.actors[worker] = self.actor.remote(self.make, worker)
        self.pending[self.actors[worker].load.remote()] = worker

    def give(self, worker: int, shard: Shard) -> None:
        self.pending[self.actors[worker].compute.remote(shard)] = worker

    def wait(self, seconds: float) -> list[Event]:
        ready, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=seconds) if self.pending else ([], [])
        events = []
        for reference in ready:
            worker = self.pending.pop(reference)
            try:
                events.append(Event(worker, *self.ray.get(reference, timeout=CONNECT_S)))
            except self.ray.exceptions.RayError as error:
                events.append(Event(worker, LOST, f"was lost ({type(error).__name__})"))
        return events

    def stop(self, worker: int) -> None:
        actor = self.actors.pop(worker, None)
        if actor is not None:
            self.pending = {ref: owner for ref, owner in self.pending.items() if owner != worker}
            self.ray.kill(actor, no_restart=True)

    def close(self) -> None:
        for worker in list(self.actors):
            self.stop(worker)
        self.ray.shutdown()
