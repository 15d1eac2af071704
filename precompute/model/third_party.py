"""Edges of third-party packages: keeps their notices out of a run's output, and silent casts out of its numbers."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn


def create_network(config: dict[str, Any]) -> nn.Module:
    """A stable-audio-tools model from its config, without the notices of its imports (flash-attn, pkg_resources)."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from stable_audio_tools.models import transformer
        from stable_audio_tools.models.factory import create_model_from_config

        transformer.flash_attn_func = None  # where installed, it would cast fp32 attention to fp16 without being asked
        return create_model_from_config(config)


def create_transformer(config: dict[str, Any]) -> nn.Module:
    """The diffusion transformer of a stable-audio-tools config, freshly initialised."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from stable_audio_tools.models.diffusion import DiTWrapper

        diffusion = config["model"]["diffusion"]
        return DiTWrapper(diffusion_objective=diffusion.get("diffusion_objective", "v"), **diffusion["config"])


@contextlib.contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Within it, transformers draws no bar for a load; a run has its own progress."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def import_htsat() -> Callable[..., nn.Module]:
    """laion_clap's constructor of audio encoders, imported without the tokenizers that the package loads from a hub.

    With no network that import retries for minutes, then fails; audio needs none of them.
    """
    from transformers import PreTrainedTokenizerBase

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with mock.patch.object(PreTrainedTokenizerBase, "from_pretrained", lambda *_, **__: None):
            from laion_clap.clap_module.htsat import create_htsat_model
    return create_htsat_model
