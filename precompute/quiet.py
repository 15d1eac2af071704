"""Edges of third-party packages: keeps their notices out of a run's output, and silent casts out of its numbers."""

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
        from stable_audio_tools.models import transformer
        from stable_audio_tools.models.factory import create_model_from_config

        transformer.flash_attn_func = None  # where it is installed it would cast fp32 attention to fp16, unasked
        return create_model_from_config(config)


def silence_progress_bars() -> None:
    """transformers draws a bar for every load; a run has its own progress."""
    from transformers.utils import logging

    logging.disable_progress_bar()
