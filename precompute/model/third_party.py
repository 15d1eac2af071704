"""Edges of third-party packages: keeps their notices out of a run's output, and silent casts out of its numbers."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


def create_network(config: dict[str, Any]) -> nn.Module:
    """A stable-audio-tools model from its config, without the notices of its imports (flash-attn, pkg_resources)."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from stable_audio_tools.models import transformer
        from stable_audio_tools.models.factory import create_model_from_config

        transformer.flash_attn_func = None  # where it is installed it would cast fp32 attention to fp16, unasked
        return create_model_from_config(config)


def untrained_transformer(config: dict[str, Any]) -> nn.Module:
    """The diffusion transformer of a stable-audio-tools config as it is before any training."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from stable_audio_tools.models.diffusion import DiTWrapper

        diffusion = config["model"]["diffusion"]
        return DiTWrapper(diffusion_objective=diffusion.get("diffusion_objective", "v"), **diffusion["config"])


def silence_progress_bars() -> None:
    """transformers draws a bar for every load; a run has its own progress."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def laion_htsat() -> Callable[..., nn.Module]:
    """laion_clap's maker of audio encoders, imported without the three tokenizers that the package loads from a hub.

    With no network that import retries for minutes, then fails; audio needs none of them.
    """
    from transformers import PreTrainedTokenizerBase

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with mock.patch.object(PreTrainedTokenizerBase, "from_pretrained", lambda *_, **__: None):
            from laion_clap.clap_module.htsat import create_htsat_model
    return create_htsat_model
