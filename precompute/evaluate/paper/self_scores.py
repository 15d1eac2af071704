"""Scores of unlearned targets by many layer groups, masks and numbers of steps, from one pass over the tracks.

A group's parameters are some of the widest group's, so a track's gradient is taken once and cut; a mask on the track
is one more backward pass. theta_1 lies on the walk to theta_k, so that one walk gives every number of steps. A score is
the product of a track's mean gradient with a target's direction theta_k - theta_0; directions lie on disk. T targets, n
training tracks; higher score = stronger influence.
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

DRAWS = 4  # of a track in a forward pass: more are hardly quicker and take more memory
SHARD = 16  # tracks whose gradients are in memory together, so that directions are read once for all of them


@dataclass(frozen=True)
class UnlearningVariant:
    """A layer group, mask and number of steps by which targets are unlearned: a row of the table."""

    layers: str
    mask: str
    steps: int

    @property
    def name(self) -> str:
        """Name of the variant, for entries of the cache."""
        return f"{self.layers}-{self.mask}-{self.steps}"

    @property
    def direction_name(self) -> str:
        """Name of its directions, which masks that unlearn alike share."""
        return f"{self.layers}-{is_clip_masked(self.mask)}-{self.steps}"


class SelfScores:
    """Computes and caches a direction for each target and scores for each shard of tracks; a killed run goes on."""

    def __init__(
        self, context: Context, items: Items, chosen: Sequence[int], variants: Sequence[UnlearningVariant], step: float
    ) -> None:
        """`items` [n]: the training tracks; `chosen`: rows of those that are unlearned.

        `step`: length of the first of several steps, relative to the weights.
        """
        self.context, self.items, self.chosen, self.variants, self.step = (
            context,
            items,
            list(chosen),
            list(variants),
            step,
        )
        groups = list(dict.fromkeys(variant.layers for variant in variants))
        self.widest = groups[0] if len(groups) == 1 else "all"
        self.columns = {layers: find_spans(context.model, self.widest, layers) for layers in groups}
        self.workers = count_workers(context.model.device, count_parameters(context.model.parameters(self.widest)))
        config, names = context.config, [variant.name for variant in variants]
        self.key = fingerprint(
            context.track_key, self.chosen, names, step, config.unlearning, config.fisher, config.bank, config.pass_
        )

    def make_section(self, variant: UnlearningVariant) -> UnlearningSection:
        """Section [unlearning] of one variant."""
        relative = self.step if variant.steps > 1 else 0.0
        settings = self.context.config.unlearning
        return replace(settings, layers=variant.layers, mask=variant.mask, steps=variant.steps, relative_step=relative)

    def load_inverse_fisher(self, layers: str) -> torch.Tensor:
        """Inverse damped Fisher of a layer group, [P]; cut from the widest group's, which gives the same numbers."""
        context = self.context
        section = replace(context.config.unlearning, layers=self.widest)
        config: RunConfig = replace(context.config, unlearning=section)
        fisher = context.make_once(
            f"self-fisher-{self.widest}",
            lambda: load_fisher(context.model, self.items, config, context.cache, context.track_key),
        )
        return invert_fisher(cut_columns(fisher[None], self.columns[layers])[0], config.fisher.damping)

    # -- directions --------------------------------------------------------------------------------------------------

    def ensure_directions(self, targets: Sequence[int]) -> None:
        """Compute the directions of targets (numbers within `chosen`) that are missing."""
        cache = self.context.cache
        missing = [number for number in targets if not cache.has(Entry("self-direction", self.key, number))]
        if missing:
            self.load_inverse_fisher(self.widest if self.widest in self.columns else next(iter(self.columns)))
        run_jobs("targets unlearned", missing, self._unlearn_target, self.workers, cache)

    def _unlearn_target(self, number: int) -> None:
        """Compute and cache the directions of a target by all variants."""
        walks: dict[tuple[str, bool], list[UnlearningVariant]] = {}
        for variant in self.variants:
            walks.setdefault((variant.layers, is_clip_masked(variant.mask)), []).append(variant)
        target, directions = self.items[[self.chosen[number]]], {}
        for variants in walks.values():
            began, at = time.monotonic(), sorted({variant.steps for variant in variants})
            step = UnlearningStep(self.make_section(replace(variants[0], steps=at[-1])), len(self.items))
            curvature = self.load_inverse_fisher(variants[0].layers)
            walked = step.walk(self.context.model, target, curvature, False, at)
            spent = time.monotonic() - began
            for variant in variants:
                directions[variant.direction_name] = walked[variant.steps].mean((0, 1))[None].numpy()
                entry = Entry("self-walk", self.key, number, variant.direction_name)
                self.context.cache.note_seconds(entry, spent * variant.steps / at[-1])
        self.context.cache.put(Entry("self-direction", self.key, number), directions, 0.0)

    def load_direction(self, variant: UnlearningVariant, number: int) -> torch.Tensor:
        """Direction of one target, [P]; computed where it is missing."""
        self.ensure_directions([number])
        cached = self.context.cache.map(Entry("self-direction", self.key, number))
        return torch.from_numpy(np.array(cached[variant.direction_name][0]))

    def delete_directions(self) -> None:
        """Remove the directions from disk: gigabytes that nothing else uses."""
        for number in range(len(self.chosen)):
            self.context.cache.locate(Entry("self-direction", self.key, number)).unlink(missing_ok=True)

    # -- tracks ------------------------------------------------------------------------------------------------------

    def compute_scores(self) -> dict[UnlearningVariant, np.ndarray]:
        """Scores [T, n] float64 of every variant."""
        cache, count = self.context.cache, len(self.items)
        self.shards = [range(start, min(start + SHARD, count)) for start in range(0, count, SHARD)]
        missing = [n for n in range(len(self.shards)) if not cache.has(Entry("self-scores", self.key, n))]
        if missing:
            self.ensure_directions(range(len(self.chosen)))
        run_jobs(f"scores, shards of {SHARD} tracks", missing, self._score_shard, self.workers, cache)
        parts = [cache.read(Entry("self-scores", self.key, number)) for number in range(len(self.shards))]
        return {variant: np.concatenate([part[variant.name] for part in parts]).T for variant in self.variants}

    def _score_shard(self, number: int) -> None:
        """Compute and cache the scores of a shard of tracks by all variants."""
        context, rows = self.context, self.shards[number]
        masks = sorted({is_track_masked(variant.mask) for variant in self.variants})
        by_track = [self.compute_gradients(self.items[[row]], masks) for row in rows]
        spent = {masked: sum(seconds[masked] for _, seconds in by_track) for masked in masks}
        names = list(dict.fromkeys(variant.direction_name for variant in self.variants))
        cached = [context.cache.map(Entry("self-direction", self.key, q)) for q in range(len(self.chosen))]
        stacked = {name: DiskRows([part[name] for part in cached]) for name in names}
        scores = {}
        for layers, masked in itertools.product(self.columns, masks):
            own = [
                variant
                for variant in self.variants
                if (variant.layers, is_track_masked(variant.mask)) == (layers, masked)
            ]
            if not own:
                continue
            of_shard = torch.cat([self.cut_group(gradients[masked], layers) for gradients, _ in by_track])
            for variant in own:
                began = time.monotonic()
                scores[variant.name] = multiply(of_shard, stacked[variant.direction_name]).numpy()
                context.cache.note_seconds(
                    Entry("self-pass", self.key, number, variant.name), spent[masked] + time.monotonic() - began
                )
        context.cache.put(Entry("self-scores", self.key, number), scores, 0.0)

    def cut_group(self, by_group: dict[str, torch.Tensor], layers: str) -> torch.Tensor:
        """[1, P] of a layer group, from the gradients by group that `compute_gradients` gives for a mask."""
        return by_group[layers] if layers in by_group else cut_columns(by_group[self.widest], self.columns[layers])

    def compute_gradients(
        self, track: Items, masks: Sequence[bool]
    ) -> tuple[dict[bool, dict[str, torch.Tensor]], dict[bool, float]]:
        """A track's mean gradient over the bank by mask and layer group, [1, P] each; and seconds by mask.

        Only of the widest group, unless every draw is scaled to length 1, since each group has a length of its own.
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

    def sum_seconds(self, variant: UnlearningVariant) -> float:
        """Seconds of the device for a variant as if alone: the walks, its gradients of the tracks, its products."""
        cache = self.context.cache
        walks = sum(
            cache.read_seconds(Entry("self-walk", self.key, q, variant.direction_name)) for q in range(len(self.chosen))
        )
        shards = range(-(-len(self.items) // SHARD))
        return walks + sum(cache.read_seconds(Entry("self-pass", self.key, n, variant.name)) for n in shards)


def find_spans(model: Model, widest: str, layers: str) -> list[tuple[int, int]]:
    """Spans (start, end) of a layer group's parameters in the widest group's flat vector, ascending."""
    own, spans, start = set(model.parameters(layers)), [], 0
    for name, parameter in model.parameters(widest).items():
        if name in own:
            spans.append((start, start + parameter.numel()))
        start += parameter.numel()
    return spans


def cut_columns(rows: torch.Tensor, columns: Sequence[tuple[int, int]]) -> torch.Tensor:
    """[R, P of the widest group] -> [R, P of the group]; the rows themselves where the group is the widest."""
    if sum(end - start for start, end in columns) == rows.shape[1]:
        return rows
    return torch.cat([rows[:, start:end] for start, end in columns], dim=1)
