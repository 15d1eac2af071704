"""Scores of unlearned targets by many layer groups, masks and numbers of steps, from one pass over the tracks.

A group's parameters are some of the widest group's, so a track's gradient is taken once and cut; a mask on the track
is one more backward pass. theta_1 lies on the walk to theta_k, so a walk gives every number of steps. What is left is
a product of a track's mean gradient with every target's direction, which lie on disk. T targets, n tracks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.config.run import RunConfig, UnlearningSection, fingerprint
from precompute.gradients.context import Context
from precompute.gradients.directions import DiskRows, multiply
from precompute.gradients.fisher import invert_fisher, load_fisher
from precompute.gradients.flat_vectors import TINY, count_parameters
from precompute.gradients.item_gradients import compute_objective, is_clip_masked, is_track_masked
from precompute.gradients.steps import UnlearningStep
from precompute.model.diffusion import Items, Model
from precompute.model.precision import predict

DRAWS = 4  # of a track a forward pass: more are hardly quicker and hold more
SHARD = 16  # tracks whose gradients are in memory together, so that directions are read once for all of them


@dataclass(frozen=True)
class UnlearningVariant:
    """A row of the table."""

    layers: str
    mask: str
    steps: int

    @property
    def name(self) -> str:
        return f"{self.layers}-{self.mask}-{self.steps}"

    @property
    def direction(self) -> str:
        """Masks that unlearn alike share their directions."""
        return f"{self.layers}-{is_clip_masked(self.mask)}-{self.steps}"


class SelfScores:
    """The pass, resumable: directions a target, scores a shard of tracks."""

    def __init__(
        self, context: Context, items: Items, chosen: Sequence[int], ways: Sequence[UnlearningVariant], step: float
    ) -> None:
        """`items` [n]: the training tracks; `chosen`: those among them that are unlearned; `step`: relative length of
        the first of several steps."""
        self.context, self.items, self.chosen, self.ways, self.step = context, items, list(chosen), list(ways), step
        groups = list(dict.fromkeys(way.layers for way in ways))
        self.widest = groups[0] if len(groups) == 1 else "all"
        self.columns = {layers: find_spans(context.model, self.widest, layers) for layers in groups}
        self.workers = count_workers(context.model.device, count_parameters(context.model.parameters(self.widest)))
        config, names = context.config, [way.name for way in ways]
        self.key = fingerprint(
            context.track_key, self.chosen, names, step, config.unlearning, config.fisher, config.bank, config.pass_
        )

    def section(self, way: UnlearningVariant) -> UnlearningSection:
        """[unlearning] of one row of the table."""
        relative = self.step if way.steps > 1 else 0.0
        settings = self.context.config.unlearning
        return replace(settings, layers=way.layers, mask=way.mask, steps=way.steps, relative_step=relative)

    def inverse_fisher(self, layers: str) -> torch.Tensor:
        """Of a layer group, [P]: cut from the widest group's, which is what the group's own would be."""
        context = self.context
        section = replace(context.config.unlearning, layers=self.widest)
        config: RunConfig = replace(context.config, unlearning=section)
        kept = context.make_once(
            f"self-fisher-{self.widest}",
            lambda: load_fisher(context.model, self.items, config, context.cache, context.track_key),
        )
        return invert_fisher(cut_columns(kept[None], self.columns[layers])[0], config.fisher.damping)

    # -- directions --------------------------------------------------------------------------------------------------

    def ensure(self, targets: Sequence[int]) -> None:
        """Compute the directions of targets (numbers within `chosen`) that are missing."""
        cache = self.context.cache
        missing = [number for number in targets if not cache.has(Entry("self-direction", self.key, number))]
        if missing:
            self.inverse_fisher(self.widest if self.widest in self.columns else next(iter(self.columns)))
        run_jobs("targets unlearned", missing, self._unlearn, self.workers, cache)

    def _unlearn(self, number: int) -> None:
        walks: dict[tuple[str, bool], list[UnlearningVariant]] = {}
        for way in self.ways:
            walks.setdefault((way.layers, is_clip_masked(way.mask)), []).append(way)
        target, found = self.items[[self.chosen[number]]], {}
        for ways in walks.values():
            began, at = time.monotonic(), sorted({way.steps for way in ways})
            step = UnlearningStep(self.section(replace(ways[0], steps=at[-1])), len(self.items))
            curvature = self.inverse_fisher(ways[0].layers)
            walked = step.walk(self.context.model, target, curvature, False, at)
            spent = time.monotonic() - began
            for way in ways:
                found[way.direction] = walked[way.steps].mean((0, 1))[None].numpy()
                entry = Entry("self-walk", self.key, number, way.direction)
                self.context.cache.note_seconds(entry, spent * way.steps / at[-1])
        self.context.cache.put(Entry("self-direction", self.key, number), found, 0.0)

    def direction(self, way: UnlearningVariant, number: int) -> torch.Tensor:
        """Of one target, [P]; computed where it is missing."""
        self.ensure([number])
        kept = self.context.cache.map(Entry("self-direction", self.key, number))
        return torch.from_numpy(np.array(kept[way.direction][0]))

    def delete_directions(self) -> None:
        """Remove them from disk: gigabytes that nothing else uses."""
        for number in range(len(self.chosen)):
            self.context.cache.locate(Entry("self-direction", self.key, number)).unlink(missing_ok=True)

    # -- tracks ------------------------------------------------------------------------------------------------------

    def scores(self) -> dict[UnlearningVariant, np.ndarray]:
        """[T, n] float64 of every way."""
        cache, count_of = self.context.cache, len(self.items)
        self.shards = [range(start, min(start + SHARD, count_of)) for start in range(0, count_of, SHARD)]
        missing = [n for n in range(len(self.shards)) if not cache.has(Entry("self-scores", self.key, n))]
        if missing:
            self.ensure(range(len(self.chosen)))
        run_jobs(f"scores, shards of {SHARD} tracks", missing, self._score, self.workers, cache)
        parts = [cache.read(Entry("self-scores", self.key, number)) for number in range(len(self.shards))]
        return {way: np.concatenate([part[way.name] for part in parts]).T for way in self.ways}

    def _score(self, number: int) -> None:
        context, rows = self.context, self.shards[number]
        masks = sorted({is_track_masked(way.mask) for way in self.ways})
        by_track = [self.gradients(self.items[[row]], masks) for row in rows]
        spent = {masked: sum(seconds[masked] for _, seconds in by_track) for masked in masks}
        names = list(dict.fromkeys(way.direction for way in self.ways))
        kept = [context.cache.map(Entry("self-direction", self.key, q)) for q in range(len(self.chosen))]
        stacked = {name: DiskRows([part[name] for part in kept]) for name in names}
        found = {}
        for layers, masked in itertools.product(self.columns, masks):
            own = [way for way in self.ways if (way.layers, is_track_masked(way.mask)) == (layers, masked)]
            if not own:
                continue
            gradients = torch.cat([self.of_group(taken[masked], layers) for taken, _ in by_track])
            for way in own:
                began = time.monotonic()
                found[way.name] = multiply(gradients, stacked[way.direction]).numpy()
                context.cache.note_seconds(
                    Entry("self-pass", self.key, number, way.name), spent[masked] + time.monotonic() - began
                )
        context.cache.put(Entry("self-scores", self.key, number), found, 0.0)

    def of_group(self, taken: dict[str, torch.Tensor], layers: str) -> torch.Tensor:
        """[1, P] of a layer group, from what `gradients` keeps by mask."""
        return taken[layers] if layers in taken else cut_columns(taken[self.widest], self.columns[layers])

    def gradients(
        self, track: Items, masks: Sequence[bool]
    ) -> tuple[dict[bool, dict[str, torch.Tensor]], dict[bool, float]]:
        """A track's mean gradient over the bank by mask and layer group, [1, P] each; and seconds by mask.

        Of the widest group alone, unless every draw is scaled to length 1: a group's length is its own.
        """
        model, bank = self.context.model, self.context.bank
        parameters = list(model.parameters(self.widest).values())
        with torch.no_grad():
            condition = model.condition(track)
        draws = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in bank.cells()]
        normalised = self.context.config.unlearning.normalise_timesteps
        size = 1 if normalised else DRAWS
        total: dict[bool, dict[str, Any]] = {masked: {} for masked in masks}
        spent = dict.fromkeys(masks, 0.0)
        for start in range(0, len(draws), size):
            began = time.monotonic()
            t, eps = (torch.cat(part) for part in zip(*draws[start : start + size], strict=True))
            predicted, target = predict(model, track.latents[0], condition, t, eps)
            forward = time.monotonic() - began
            share = min(size, len(draws) - start) / len(draws)
            for masked in masks:
                began = time.monotonic()
                scalar = compute_objective("loss", predicted, target, int(track.valid_frames[0]) if masked else None)
                parts = torch.autograd.grad(scalar, parameters, retain_graph=masked is not masks[-1])
                row = torch.cat([part.flatten() for part in parts]).cpu()[None]
                for layers in self.columns if normalised else (self.widest,):
                    own = cut_columns(row, self.columns[layers]) if normalised else row
                    if normalised:
                        own = own / own.norm().clamp(min=TINY)
                    total[masked][layers] = total[masked].get(layers, 0) + own * share
                spent[masked] += forward + time.monotonic() - began
        return total, spent

    # -- time --------------------------------------------------------------------------------------------------------

    def seconds(self, way: UnlearningVariant) -> float:
        """What a row took of the device's time, as if alone: the walks, its gradients of the tracks, its products."""
        cache = self.context.cache
        walks = sum(cache.read_seconds(Entry("self-walk", self.key, q, way.direction)) for q in range(len(self.chosen)))
        shards = range(-(-len(self.items) // SHARD))
        return walks + sum(cache.read_seconds(Entry("self-pass", self.key, n, way.name)) for n in shards)


def find_spans(model: Model, widest: str, layers: str) -> list[tuple[int, int]]:
    """Where a layer group's parameters lie in the widest group's flat vector: (start, end), ascending."""
    own, found, start = set(model.parameters(layers)), [], 0
    for name, parameter in model.parameters(widest).items():
        if name in own:
            found.append((start, start + parameter.numel()))
        start += parameter.numel()
    return found


def cut_columns(rows: torch.Tensor, columns: Sequence[tuple[int, int]]) -> torch.Tensor:
    """[R, P of the widest group] -> [R, P of the group]; the rows themselves where it is the same."""
    if sum(end - start for start, end in columns) == rows.shape[1]:
        return rows
    return torch.cat([rows[:, start:end] for start, end in columns], dim=1)
