"""CLAP: cosine of the audio embeddings of clip and track; a reading of the comparison in arXiv 2506.18312.

Mono at the rate that the CLAP asks for (music CLAPs: 48 kHz), fixed crops of its window (10 s), embeddings averaged,
length 1. It hears what sounds alike and knows nothing of the generating model: similarity, not influence.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.errors import UserError
from precompute.gradients.context import Context
from precompute.methods.base import Method, MethodResult
from precompute.methods.embeddings import collect_embeddings, hash_source, select_windows
from precompute.model import hub
from precompute.model.clap import Clap
from precompute.model.laion import LaionClap

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class AudioEmbedder(Protocol):
    """A CLAP as this method uses it."""

    @property
    def sample_rate(self) -> int:
        """Hertz."""

    def audio(self, waves: list[np.ndarray]) -> torch.Tensor:
        """Mono waveforms [T] at `sample_rate` -> [N, E] float32, length 1."""


def open_clap(name: str, device: str = "cpu") -> AudioEmbedder:
    """A `ClapModel` folder, a laion_clap `.pt` file or a hub id. Raises UserError in one line, without a long wait."""
    path = Path(name)
    if path.suffix in (".pt", ".pth", ".ckpt"):
        return LaionClap.load(path, device)
    if path.exists() or not HUB_ID.fullmatch(name):
        return Clap.load(path, device)
    cached = hub.find_cached(name, ("config.json",)) is not None
    if not cached and not hub.is_reachable():
        raise UserError(f"{name}: no such folder, not in the Hugging Face cache, and the hub does not answer")
    return Clap.from_hub(name, cached, device)


class ClapSimilarity(Method):
    """Cosine similarity in a CLAP's space."""

    name = "clap"
    label = "CLAP similarity"
    description = "How alike clip and track sound to CLAP, a network that pairs music with words; it ignores the model."
    cost = "one embedding a recording"
    needs = "a CLAP ([methods.clap] model, else [model] clap)"

    def find_obstacle(self, context: Context) -> str | None:
        """No CLAP is named, or its file is not there."""
        name = self._choose_source(context)
        if not name:
            return "no CLAP is named: set [methods.clap] model to a ClapModel folder, a hub id or a laion_clap .pt file"
        if Path(name).suffix and not Path(name).exists() and not HUB_ID.fullmatch(name):
            return f"[methods.clap] model: {name} is not there"
        return None

    def _choose_source(self, context: Context) -> str:
        return self.settings.model or context.config.model.clap

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Cosines of all clips and tracks."""
        source = self._choose_source(context)
        piece = f"embeddings-{hash_source(source)}"
        embeddings = context.cache_piece(piece, lambda: self._embed_all(context, source))
        tracks = embeddings["tracks"].astype(np.float64)
        rows = np.stack([select_windows(embeddings, context, kind, row)[0] for kind, row in context.clips])
        return MethodResult.without_noise(rows @ tracks.T, len(context.stored))

    def _embed_all(self, context: Context, source: str) -> Arrays:
        clap = open_clap(source, str(context.model.device))
        return collect_embeddings(context, lambda wave: clap.audio([wave]).numpy(), clap.sample_rate, "CLAP")
