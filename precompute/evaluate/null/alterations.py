"""Alterations for the negative controls: models without or with another training, swapped roles, other captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from precompute.common.sequences import spread_evenly
from precompute.config.run import fingerprint
from precompute.corpus.tracks import Track
from precompute.evaluate.scoring import fingerprint_items
from precompute.model.diffusion import Items, Model
from precompute.significance.verdicts import assign_roles
from precompute.train.diffusion import DiffusionLoss
from precompute.train.loop import LoopSettings, fit
from precompute.train.scratch import make_fresh_model, make_trainable, update_hashes


def choose_matched_rows(tracks: Sequence[Track], most: int = 0) -> list[int]:
    """Rows of as many regular training tracks as regular decoys, ascending, at most `most` of each (0 = no limit).

    The more numerous kind is thinned evenly.
    """
    is_train, is_decoy = assign_roles(tracks)[:2]
    kinds = [np.flatnonzero(mask) for mask in (is_train, is_decoy)]
    count = min(map(len, kinds))
    count = min(count, most) if most else count
    return sorted(int(kind[row]) for kind in kinds for row in spread_evenly(len(kind), count))


def swap_role(track: Track) -> Track:
    """The track in the other role: a decoy as training track, a training track as decoy."""
    return replace(track, split="train" if track.is_decoy else "decoy")


def train_from_scratch(like: Model, items: Items, settings: LoopSettings, folder: Path, name: str) -> Model:
    """A fresh model trained on items [N]; its state is kept below `folder`, apart for these settings and data."""
    model = make_fresh_model(like, settings.seed)
    network = make_trainable(model)
    folder = folder / fingerprint(like.inputs_sha256, fingerprint_items(items), settings)
    fit(name, network, DiffusionLoss(network, model, items, settings.batch), settings, folder)
    network.requires_grad_(False)
    return update_hashes(model, like)


def recaption(items: Items, clips: Items, row: int) -> Items:
    """Items of the same latents and lengths under the prompt of one clip."""
    one = clips.embeddings
    embeddings = None if one is None else one[row].expand(len(items), -1).contiguous()
    return replace(items, prompts=(clips.prompts[row],) * len(items), embeddings=embeddings)
