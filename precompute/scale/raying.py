"""Workers as actors of Ray (extra `[ray]`): on one machine over its loopback, or on a cluster that runs already.

An actor loads the model once, holds one card where the model's device is a GPU, and shares the work folder with the
driver (on a cluster: a shared file system). Usage statistics, dashboard and log forwarding are off.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from precompute.config import RunConfig
from precompute.errors import UserError
from precompute.scale.scheduler import DONE, FAILED, LOST, READY, Event
from precompute.scale.shards import Shard

CONNECT_S = 60.0


def require() -> None:
    """Raises UserError where ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("--launcher ray: ray is not installed; pip install 'whence[ray]', or use --launcher local")


class RayWorker:
    """The actor."""

    def __init__(self, config: RunConfig, folder: Path, threads: int) -> None:
        self.config, self.folder, self.threads = config, folder, threads
        self.work: Any = None

    def load(self) -> tuple[str, str, str]:
        """READY, or what went wrong; as `scheduler.Event` has it."""
        import torch

        from precompute.scale.work import Work, told

        torch.set_num_threads(self.threads)
        try:
            self.work = Work.attach(self.config, self.folder)  # Ray shows an actor its own card alone
        except BaseException as error:
            cause, text = told(error)
            return FAILED, text, cause
        return READY, f"process {os.getpid()}", ""

    def compute(self, shard: Shard) -> tuple[str, str, str]:
        """DONE, or what went wrong."""
        from precompute.scale.work import told

        try:
            self.work.compute(shard)
        except BaseException as error:
            cause, text = told(error)
            return FAILED, text, cause
        return DONE, "", ""


class RayPool:
    """A `scheduler.Pool`."""

    def __init__(self, config: RunConfig, folder: Path, workers: int, address: str = "") -> None:
        require()
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray
        import torch

        self.ray, self.config, self.folder = ray, config, folder.resolve()
        gpu = config.model.device.startswith("cuda")
        cards = torch.cuda.device_count() if gpu else 0
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
        try:
            if address:
                ray.init(address=address, configure_logging=False, log_to_driver=False)
            else:
                ray.init(num_cpus=workers, num_gpus=cards, _node_ip_address="127.0.0.1", **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"ray: cannot be started or reached ({str(error).splitlines()[0]})") from error
        threads = max(1, torch.get_num_threads() // workers)
        self.actor = ray.remote(RayWorker).options(num_cpus=1, num_gpus=int(gpu), max_restarts=0)
        self.arguments = (config, self.folder, threads)
        self.actors: dict[int, Any] = {}
        self.pending: dict[Any, int] = {}

    def start(self, worker: int) -> None:
        self.stop(worker)
        self.actors[worker] = self.actor.remote(*self.arguments)
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
