"""Keeps the notices of third-party packages out of the output of a run; errors still come through."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def create_network(config: dict[str, Any]) -> nn.Module:
    """A stable-audio-tools model from its config, without the notices of its imports (flash-attn, pkg_resources)."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from stable_audio_tools.models.factory import create_model_from_config

        return create_model_from_config(config)


def silence_progress_bars() -> None:
    """transformers draws a bar for every load; a run has its own progress."""
    from transformers.utils import logging

    logging.disable_progress_bar()
