"""A listener of bench_explorer.py: a browser without a screen, with habits of its own.

It speaks to the server as Gradio's front end does: the page's own configuration says which event has which number, a
click is POST /gradio_api/queue/join with a session hash, the answer comes from /gradio_api/queue/data. It leaves out
what a browser asks for beside: scripts, sounds (the store has none), the heartbeat. Seconds, milliseconds, bytes.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx

TIMEOUT_S = 10.0  # a slower answer counts as an error
# The next action of a listener, by weight. Clips, methods, places and rows are drawn evenly: the worst for any cache.
HABITS = {"clip": 25, "place": 20, "row": 15, "table": 15, "method": 9, "order": 8, "span": 8}
WORDS = ("waltz", "river", "night", "etude", "organ", "brandt", "second take", "zzz")  # and a number, so rarely twice
WATCHED = {  # part of the page, event -> fn_index is looked up in the page's own configuration
    "clip": ("clip", "input"),
    "method": ("method", "input"),
    "order": ("order", "input"),
    "span": ("player", "span"),
    "place": ("curve", "pick"),
    "row": ("table", "choose"),
    "table": ("table", "ask"),
}


class ListenerError(RuntimeError):
    """A selection that a listener would see fail."""


@dataclass
class Layout:
    """The events of the page, read from its own configuration: number, inputs and outputs of each."""

    events: dict[str, dict[str, Any]]  # kind -> dependency
    targets: dict[str, int]  # kind -> component whose event it is
    names: dict[int, str]  # component -> elem_id
    clips: list[int]
    methods: list[str]

    @classmethod
    def read(cls, page: str) -> Layout:
        match = re.search(r"window\.gradio_config = (.*?);</script>", page, re.DOTALL)
        if match is None:
            raise ListenerError("the page holds no configuration")
        config = json.loads(match[1])
        names = {part["id"]: part["props"].get("elem_id") or "" for part in config["components"]}
        choices = {part["props"].get("elem_id"): part["props"].get("choices") for part in config["components"]}
        ids = {name: number for number, name in names.items()}
        wanted = {(ids[name], event): kind for kind, (name, event) in WATCHED.items()}
        events, targets = {}, {}
        for dependency in config["dependencies"]:
            for target, event in dependency["targets"]:
                kind = "load" if event == "load" else wanted.get((target, event))
                if kind:
                    events[kind], targets[kind] = dependency, target
        clips, methods = ([value for _, value in choices[name]] for name in ("clip", "method"))
        return cls(events, targets, names, clips, methods)


@dataclass
class Tally:
    """Counts of one run: seconds of each selection by kind, bytes by (case, kind), and error messages."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bytes: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)

    def make_rows(self, head: dict[str, Any], wall_s: float) -> list[dict[str, Any]]:
        """Rows of the result: all selections together, then each kind."""
        every = [value for values in self.seconds.values() for value in values]
        whole = {"selections_per_s": round(len(every) / wall_s, 1), "errors": len(self.errors)}
        rows = [{**head, "kind": "all", **_summarise(every), **whole}]
        return rows + [
            {**head, "kind": kind, **_summarise(self.seconds[kind])} for kind in HABITS if self.seconds[kind]
        ]


def _summarise(seconds: list[float]) -> dict[str, Any]:
    ordered = sorted(seconds) or [0.0]
    p50, p95, most = (ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in (0.5, 0.95, 1.0))
    ms = {"p50_ms": p50, "p95_ms": p95, "max_ms": most}
    return {"selections": len(seconds), **{name: round(1000 * value, 1) for name, value in ms.items()}}


class SimulatedListener:
    """One browser: a session, the values of the parts that events start from, and habits of its own (seeded)."""

    def __init__(self, http: httpx.AsyncClient, seed: int, tally: Tally) -> None:
        self.http, self.tally = http, tally
        self.rng = random.Random(seed)
        self.session = f"{self.rng.getrandbits(50):x}"
        self.values: dict[str, Any] = {}
        self.layout: Layout

    async def open(self) -> None:
        """Load the page, then fire the event that it fires by itself."""
        page = await self.http.get("/", headers={"Accept": "text/html"})
        page.raise_for_status()
        self.layout = Layout.read(page.text)
        await self.fire("load", [], None)

    async def fire(self, kind: str, data: list[Any], event: object) -> int:
        """Fire an event and wait for its answer; returns the bytes. Raises ListenerError or httpx.HTTPError."""
        dependency = self.layout.events[kind]
        body = {
            "data": data,
            "event_data": event,
            "fn_index": dependency["id"],
            "trigger_id": self.layout.targets[kind],
            "session_hash": self.session,
        }
        joined = await self.http.post("/gradio_api/queue/join", json=body)
        if joined.status_code != 200:
            raise ListenerError(f"{kind}: status {joined.status_code}")
        size, output = 0, None
        async with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            if stream.status_code != 200:
                raise ListenerError(f"{kind}: status {stream.status_code}")
            async for line in stream.aiter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line[5:])
                if message["msg"] == "process_completed":
                    if not message["success"]:
                        raise ListenerError(f"{kind}: {message['output']}")
                    size, output = len(line), message["output"]["data"]
        if output is None:
            raise ListenerError(f"{kind}: the stream ended without an answer")
        for part, value in zip(dependency["outputs"], output, strict=True):
            self.values[self.layout.names[part]] = value
            if (name := self.layout.names[part]) in ("curve", "table", "player"):
                text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
                self.tally.bytes["part of an answer", name].append(len(text.encode()))
        return size

    async def select(self) -> None:
        """Make one selection and count its time and bytes."""
        kind, data, event = self._choose_next()
        started = time.perf_counter()
        try:
            size = await asyncio.wait_for(self.fire(kind, data, event), TIMEOUT_S)
        except (ListenerError, httpx.HTTPError, asyncio.TimeoutError) as error:
            self.tally.errors.append(f"{type(error).__name__}: {error}")
            return
        self.tally.seconds[kind].append(time.perf_counter() - started)
        self.tally.bytes["whole answer", kind].append(size)

    async def select_until(self, end: float, think_s: float, most: int | None) -> None:
        """Selections until the clock says `end` (of time.monotonic), or `most` are made."""
        made = 0
        while time.monotonic() < end and made != most:
            await self.select()
            made += 1
            if think_s:
                await asyncio.sleep(self.rng.expovariate(1 / think_s))

    def _choose_next(self) -> tuple[str, list[Any], object]:
        """(kind, data, event data) of the next selection."""
        rng, query = self.rng, self.values["link"]
        kind = rng.choices(list(HABITS), list(HABITS.values()))[0]
        view = parse_qs(query)
        table = self.values["table"]
        rows = table["rows"]
        if kind == "span" and not self.values["player"]["window_s"]:
            kind = "clip"  # this method knows no windows
        if kind == "row" and not rows:
            kind = "place"  # nothing matched the filter
        if kind == "clip":
            return kind, [query, rng.choice(self.layout.clips)], None
        if kind == "method":
            return kind, [query, rng.choice(self.layout.methods)], None
        if kind == "order":
            return kind, [query, "normalised" if "scores" in view else "raw"], None
        if kind == "span":
            first = rng.randrange(6)
            return kind, [query], {} if "span" in view else {"from_s": first, "to_s": first + rng.randint(1, 6 - first)}
        if kind == "row":
            return kind, [query], {"track_id": rng.choice(rows)[table["columns"].index("track_id")], "play": True}
        if kind == "place":
            decoy = rng.random() < 0.1
            count = self.values["curve"]["decoy" if decoy else "track"]["count"]
            return kind, [query], {"place": int(count ** rng.random()), "decoy": decoy}  # low places more often
        return kind, [query], self._choose_table_request()

    def _choose_table_request(self) -> dict[str, Any]:
        """A filter, an order or a page of the table, or all of it again."""
        rng, shown = self.rng, self.values["table"]
        requests: list[dict[str, Any]] = [
            {"text": f"{rng.choice(WORDS)} {rng.randrange(90)}"},
            {"collection": rng.choice(shown["collections"])},
            {"above": True},
            {"decoys": True},
            {"sort": rng.choice(("title", "composer", "source")), "descending": rng.random() < 0.3},
            {"offset": 100 * rng.randrange(5)},
            {},
        ]
        return rng.choice(requests)
