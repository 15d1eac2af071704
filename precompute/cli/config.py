"""The argument --config, which most verbs have, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from precompute.config.run import RunConfig

ROOT = Path(__file__).resolve().parents[2]  # the repository, whose configs and demo data the defaults name
CONFIGS = {  # where it is not that of the shipped store
    "agreement": ROOT / "precompute/configs/demo-agreement.toml",
    "retraining": ROOT / "precompute/configs/bench.toml",
}


def add_config(parser: argparse.ArgumentParser, name: str = "") -> None:
    """Add --config, by default the config of the shipped store or that of the judgement `name`."""
    parser.add_argument("--config", type=Path, default=CONFIGS.get(name, ROOT / "precompute/configs/demo-full.toml"))


def load_config(path: Path) -> RunConfig:
    """Read a run's config, then set up torch: a mistake in the config is reported before torch is imported.

    Raises UserError.
    """
    from precompute.config.run import RunConfig

    config = RunConfig.load(path)
    from precompute.common.torch_setup import setup_torch

    setup_torch()
    return config
