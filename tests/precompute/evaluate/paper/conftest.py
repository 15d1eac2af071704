"""A run with few draws, for the experiments of the reference paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import tiny


@pytest.fixture(scope="module")
def small(tiny_root: Path) -> Path:
    """A config with few draws."""
    path = tiny.write_run(tiny_root, tiny_root / "judged", checkpoints='""')
    run = '\n[bank]\nreplicates = 2\nstrata = 2\n[methods]\nrun = ["unlearning", "influence", "random"]\n'
    path.write_text(path.read_text() + run)
    return path
