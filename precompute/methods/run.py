"""Runs the methods that a config names: those that look at gradients in one pass, the others one after another.

One that cannot run, or fails, is left out with its reason in one line; the others go on. Results are kept by the
content of all that they depend on, so that adding a method computes nothing else again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from precompute.common.cache import Arrays, Entry
from precompute.common.progress import progress
from precompute.errors import UserError
from precompute.gradients.track_pass import gather, sum_seconds
from precompute.methods.base import Context, GradientMethod, Method, MethodResult
from precompute.methods.catalogue import build


@dataclass(frozen=True)
class Done:
    """A method that ran."""

    method_id: int  # its place in the config, from 1
    method: Method
    result: MethodResult
    cost_s: float  # of the run's device, for all clips, as if it had run alone


@dataclass
class Outcome:
    """What became of the methods that were asked for."""

    done: list[Done] = field(default_factory=list)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)  # (name, label, reason)


def run_methods(context: Context, names: Sequence[str]) -> Outcome:
    """All of them, in an order that gives each the results it needs. Raises the last error where none could run."""
    run = _Run(context, [build(name, context.config, len(context.trained)) for name in names])
    if run.gradient():
        run.pass_over_tracks()
    for method in sorted(run.methods, key=lambda method: isinstance(method, GradientMethod) is False):
        if not _others(method, run.methods):
            run.score(method)
    for method in run.methods:
        if _others(method, run.methods):
            run.score(method)
    if not run.results and run.last is not None:
        raise run.last
    done = [Done(i + 1, m, *run.results[m.name]) for i, m in enumerate(run.methods) if m.name in run.results]
    skipped = [(m.name, m.label, run.reasons[m.name]) for m in run.methods if m.name in run.reasons]
    return Outcome(done, skipped)


def _others(method: Method, methods: Sequence[Method]) -> list[str]:
    """Names of the methods of this run that it builds on."""
    return [other.name for other in methods if method.builds_on(other.name)]


class _Run:
    def __init__(self, context: Context, methods: Sequence[Method]) -> None:
        self.context, self.methods = context, methods
        self.results: dict[str, tuple[MethodResult, float]] = {}
        self.reasons: dict[str, str] = {}
        self.last: Exception | None = None
        for method in methods:
            reason = self.attempt(method, lambda method=method: method.requirements(context.of(method)))
            if reason:
                self.skip(method, reason)
                self.last = UserError(f"{method.name}: {reason}")

    def gradient(self) -> list[GradientMethod]:
        return [m for m in self.methods if isinstance(m, GradientMethod) and m.name not in self.reasons]

    def skip(self, method: Method, reason: str) -> None:
        self.reasons[method.name] = reason
        print(f"  left out: {method.name}: {reason}", flush=True)

    def attempt(self, method: Method, what: Callable[[], Any]) -> Any:
        """Its value; None, and the method left out with the reason, where it fails. A full disk ends the run."""
        try:
            return what()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            self.last, reason = error, f"it failed: {error}"
        except UserError as error:
            self.last, reason = error, str(error)
        except Exception as error:  # whatever a method does, the others go on
            self.last = error
            reason = f"it failed: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        self.skip(method, reason)
        return None

    def pass_over_tracks(self) -> None:
        """One pass for all gradient methods; each then finds what it needs kept."""
        context, taps = self.context, []
        for method in self.gradient():
            found = self.attempt(method, lambda method=method: method.taps(context.of(method)))
            taps += list((found or {}).values())
        if not taps:
            return
        try:
            gather(context.model, context.items, context.bank, taps, context.cache)
        except (UserError, OSError):
            raise  # a worker was killed, or the disk is full: what is kept is kept
        except Exception as error:
            if len(self.methods) == 1:
                raise
            print(f"  the common pass failed ({error}); each method now has its own", flush=True)

    def score(self, method: Method) -> None:
        """One method's result, checked."""
        if method.name in self.reasons:
            return
        context = self.context.of(method)
        asked = _others(method, self.methods)
        others = {name: self.results[name][0] for name in asked if name in self.results}
        if asked and not others:
            self.skip(method, "none of the methods that it builds on could run")
            return

        def compute() -> tuple[MethodResult, float]:
            began = time.monotonic()
            if isinstance(method, GradientMethod) or others:
                result, cost = method.scores(context, others), 0.0
                if isinstance(method, GradientMethod):
                    taps = list(method.taps(context).values())
                    cost = sum_seconds(taps, context.model, len(context.items), context.cache)
                cost += time.monotonic() - began if result.seconds is None else result.seconds
            else:
                result, cost = _kept(method, context)
            result.check(context)
            return result, cost

        found = self.attempt(method, compute)
        if found is not None:
            self.results[method.name] = found


def _kept(method: Method, context: Context) -> tuple[MethodResult, float]:
    """A result from the cache, or into it; and what it took, pieces of interrupted runs included."""
    name, key = context.scope.rsplit("-", 1)
    cache, entry = context.cache, Entry(f"result-{name}", key)
    if not cache.has(entry):
        print(f"{method.label}", flush=True)
        earlier, began = cache.sum_seconds(name, key), time.monotonic()
        result = method.scores(context, {})
        result.check(context)
        cache.put(entry, _arrays(result), earlier + time.monotonic() - began)
    return _result(cache.read(entry)), cache.read_seconds(entry)


def _arrays(result: MethodResult) -> Arrays:
    arrays = {"cells": result.cells, "cohort": result.cohort}
    if result.windows is not None:
        arrays["windows"] = result.windows
    for place, column in enumerate(("names", "values", "meanings")):
        arrays[column] = np.array([remark[place] for remark in result.remarks])
    return arrays


def _result(arrays: Arrays) -> MethodResult:
    columns = [arrays[name].tolist() for name in ("names", "values", "meanings")]
    remarks = tuple((str(n), float(v), str(m)) for n, v, m in zip(*columns, strict=True))
    return MethodResult(arrays["cells"], arrays["cohort"], arrays.get("windows"), remarks)


def moments_of(context: Context, method: Method, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], np.ndarray]:
    """Influence over time in the track for (clip row, track row) pairs: [F] float64 each; kept pair by pair."""
    context, found = context.of(method), {}
    for q, i in progress(f"moments ({method.name})", pairs):
        compute = lambda q=q, i=i: {"rise": method.moments(context, q, i)}  # noqa: E731
        found[q, i] = context.kept(f"moments-{q:04d}-{i:06d}", compute)["rise"]
    return found
