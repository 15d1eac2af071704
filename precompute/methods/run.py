"""Runs the methods that a config names: those that look at gradients in one pass, the others one after another.

Methods that cannot run, or fail, are skipped with a reason in one line, which the store records; the others go on.
Results are cached by the content of all that they depend on, so that adding a method computes nothing else again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from precompute.common.cache import Arrays, Entry
from precompute.common.progress import progress
from precompute.errors import UserError
from precompute.gradients.context import Context
from precompute.gradients.track_pass import gather, sum_seconds
from precompute.methods.base import GradientMethod, Method, MethodResult
from precompute.methods.catalogue import build_method

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class MethodRun:
    """A method that ran."""

    method_id: int  # its place in the config, from 1
    method: Method
    result: MethodResult
    cost_s: float  # of the run's device, for all clips, as if it had run alone


class MethodRefusal(NamedTuple):
    """A method that could not run."""

    name: str
    label: str
    reason: str  # one plain clause


@dataclass(frozen=True)
class RunOutcome:
    """The methods that ran and those that did not."""

    completed: list[MethodRun]
    skipped: list[MethodRefusal]


def run_methods(context: Context, names: Sequence[str]) -> RunOutcome:
    """Run all of them, in an order that gives each the results it needs. Raises the last error where none could run."""
    runner = MethodRunner(context, [build_method(name, context.config, len(context.trained)) for name in names])
    runner.find_obstacles()
    runner.pass_over_tracks()
    for method in sorted(runner.methods, key=runner.rank):
        runner.score(method)
    if not runner.results and runner.last_error is not None:
        raise runner.last_error
    completed, skipped = [], []
    for place, method in enumerate(runner.methods, 1):
        if method.name in runner.results:
            completed.append(MethodRun(place, method, *runner.results[method.name]))
        if method.name in runner.reasons:
            skipped.append(MethodRefusal(method.name, method.label, runner.reasons[method.name]))
    return RunOutcome(completed, skipped)


class MethodRunner:
    """The methods of one run, their results so far, and why others were skipped."""

    def __init__(self, context: Context, methods: Sequence[Method]) -> None:
        self.context, self.methods = context, methods
        self.results: dict[str, tuple[MethodResult, float]] = {}  # by name: result and cost in seconds
        self.reasons: dict[str, str] = {}
        self.last_error: Exception | None = None

    def find_obstacles(self) -> None:
        """Skip the methods that cannot run here."""
        for method in self.methods:
            reason = self.attempt(method, partial(method.find_obstacle, method.focus(self.context)))
            if reason:
                self.skip(method, reason)
                self.last_error = UserError(f"{method.name}: {reason}")

    def rank(self, method: Method) -> int:
        """Place in the order: gradient methods, others, then those that build on others."""
        return 2 if self.list_sources(method) else 0 if isinstance(method, GradientMethod) else 1

    def list_sources(self, method: Method) -> list[str]:
        """Names of the methods of this run that it builds on."""
        return [other.name for other in self.methods if method.builds_on(other.name)]

    def skip(self, method: Method, reason: str) -> None:
        """Skip it, and say why."""
        self.reasons[method.name] = reason
        print(f"  skipped: {method.name}: {reason}", flush=True)

    def attempt(self, method: Method, action: Callable[[], Answer]) -> Answer | None:
        """The action's value; None, and the method skipped, where it fails. A full disk ends the run."""
        try:
            return action()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            self.last_error, reason = error, f"it failed: {error}"
        except UserError as error:
            self.last_error, reason = error, str(error)
        except Exception as error:  # whatever a method does, the others go on
            self.last_error = error
            reason = f"it failed: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        self.skip(method, reason)
        return None

    def pass_over_tracks(self) -> None:
        """One pass for all gradient methods; each then finds what it needs in the cache."""
        context, taps = self.context, []
        for method in self.methods:
            if isinstance(method, GradientMethod) and method.name not in self.reasons:
                own = self.attempt(method, partial(method.make_taps, method.focus(context)))
                taps += list((own or {}).values())
        if not taps:
            return
        try:
            gather(context.model, context.items, context.bank, taps, context.cache)
        except (UserError, OSError):
            raise  # a worker was killed, or the disk is full: what is cached stays
        except Exception as error:
            if len(self.methods) == 1:
                raise
            print(f"  the common pass failed ({error}); each method now has its own", flush=True)

    def score(self, method: Method) -> None:
        """One method's result, checked, unless it is skipped."""
        if method.name in self.reasons:
            return
        context, sources = method.focus(self.context), self.list_sources(method)
        others = {name: self.results[name][0] for name in sources if name in self.results}
        if sources and not others:
            self.skip(method, "none of the methods that it builds on could run")
            return
        if isinstance(method, GradientMethod) or others:
            outcome = self.attempt(method, lambda: _compute_result(method, context, others))
        else:
            outcome = self.attempt(method, lambda: _load_result(method, context))
        if outcome is not None:
            self.results[method.name] = outcome


def _compute_result(method: Method, context: Context, others: dict[str, MethodResult]) -> tuple[MethodResult, float]:
    """A result from what is cached of the pass or from other methods' results, and its cost in seconds."""
    began = time.monotonic()
    result, cost = method.compute_scores(context, others), 0.0
    if isinstance(method, GradientMethod):
        taps = list(method.make_taps(context).values())
        cost = sum_seconds(taps, context.model, len(context.items), context.cache)
    cost += time.monotonic() - began if result.seconds is None else result.seconds
    result.check(context)
    return result, cost


def _load_result(method: Method, context: Context) -> tuple[MethodResult, float]:
    """A result from the cache, or into it; and its cost in seconds, pieces of interrupted runs included."""
    cache, entry = context.cache, Entry(f"result-{method.name}", context.method_key)
    if not cache.has(entry):
        print(f"{method.label}", flush=True)
        earlier, began = cache.sum_seconds(method.name, context.method_key), time.monotonic()
        result = method.compute_scores(context, {})
        result.check(context)
        cache.put(entry, _pack_result(result), earlier + time.monotonic() - began)
    result = _unpack_result(cache.read(entry))
    result.check(context)
    return result, cache.read_seconds(entry)


def _pack_result(result: MethodResult) -> Arrays:
    arrays = {"cells": result.cells, "cohort": result.cohort}
    if result.windows is not None:
        arrays["windows"] = result.windows
    for place, column in enumerate(("names", "values", "meanings")):
        arrays[column] = np.array([remark[place] for remark in result.remarks])
    return arrays


def _unpack_result(arrays: Arrays) -> MethodResult:
    columns = [arrays[name].tolist() for name in ("names", "values", "meanings")]
    remarks = tuple((str(n), float(v), str(m)) for n, v, m in zip(*columns, strict=True))
    return MethodResult(arrays["cells"], arrays["cohort"], arrays.get("windows"), remarks)


def compute_moments(
    context: Context, method: Method, pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], np.ndarray]:
    """Influence over time in the track for (clip row, track row) pairs: [F] float64 each; cached pair by pair."""
    context, moments = method.focus(context), {}
    for clip, track in progress(f"moments ({method.name})", pairs):

        def compute(clip: int = clip, track: int = track) -> Arrays:
            return {"rise": method.compute_moments(context, clip, track)}

        moments[clip, track] = context.cache_piece(f"moments-{clip:04d}-{track:06d}", compute)["rise"]
    return moments
