"""The tiny model, trained once a session by the demo's own code, and one finished run of it."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from precompute.cli.main import main
from precompute.common.cache import Cache
from precompute.common.torch_setup import setup_torch
from precompute.config.run import RunConfig
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.model.diffusion import Items, Model, load_model
from precompute.train.diffusion import DiffusionLoss
from precompute.train.loop import LoopSettings, fit
from support import tiny
from support.twins import context, fisher, naive, of_loss  # noqa: F401 (fixtures)

LIMIT = 300_000  # parameters of autoencoder and transformer


@dataclass(frozen=True)
class Finished:
    """A run that is done."""

    root: Path  # corpus, training and models
    out: Path  # run.toml, store, clips, work
    config: Path
    store: Path
    text: str  # what it printed


@pytest.fixture(scope="session", autouse=True)
def torch_as_in_a_run() -> None:
    """Set up as the command line does, with one thread: tiny tensors are many times slower on two."""
    setup_torch()
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 training tracks, 16 decoys, models trained for 20 steps."""
    root = tmp_path_factory.mktemp("tiny")
    tiny.make_model(root)
    return root


@pytest.fixture(scope="session")
def config(tiny_root: Path) -> RunConfig:
    return RunConfig.load(tiny.write_run(tiny_root, tiny_root / "unit"))


@pytest.fixture(scope="session")
def model(config: RunConfig) -> Model:
    loaded = load_model(config)
    assert sum(p.numel() for p in loaded.network.parameters()) <= LIMIT
    return loaded


@pytest.fixture(scope="session")
def tracks(config: RunConfig) -> list[Track]:
    """16 training tracks, then 16 decoys."""
    return load_corpus(config).tracks


@pytest.fixture(scope="session")
def items(config: RunConfig, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Items:
    """Latents and conditions of `tracks`."""
    cache = Cache(tmp_path_factory.mktemp("cache"))
    return load_latents(model, load_corpus(config), config, cache)[0]


@pytest.fixture(scope="session")
def fitted(config: RunConfig, items: Items, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny transformer after 400 more steps: 20 are too few to know one track from another."""
    twin = load_model(config)
    twin.network.model.requires_grad_(True)
    twin.network.conditioner.requires_grad_(True)
    settings = LoopSettings(steps=400, learning_rate=2e-3, warmup_steps=20, ema_decay=0.98, save_every=400, bf16=False)
    fit(
        "longer",
        twin.network,
        DiffusionLoss(twin.network, twin, items[:16], batch=24),
        settings,
        tmp_path_factory.mktemp("fit"),
    )
    twin.network.requires_grad_(False)
    return twin


@pytest.fixture(scope="session")
def finished(tiny_root: Path) -> Finished:
    """`precompute run --audit`, as a user starts it."""
    out = tiny_root / "run"
    config = tiny.write_run(tiny_root, out)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(["run", "--config", str(config), "--audit"])
    assert code == 0
    return Finished(tiny_root, out, config, out / "store.duckdb", printed.getvalue())
