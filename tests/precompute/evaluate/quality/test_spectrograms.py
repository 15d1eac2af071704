"""The page of spectrograms, on the tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from precompute.config.run import RunConfig
from precompute.evaluate.quality.spectrograms import describe_levels, draw_spectrograms


def test_the_page_of_spectrograms(run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_spectrograms(run, tmp_path / "page.png")
    said = capsys.readouterr().out.splitlines()
    levelled = [line for line in said if "dBFS, peak" in line]
    assert len(levelled) == 6 * 2 + 3 + 3 * 2 and all("clipped" in x or "silent" in x or "ok" in x for x in levelled)
    assert (tmp_path / "page.png").stat().st_size < 450_000
    assert Image.open(tmp_path / "page.png").width > 800


def test_levels_are_named() -> None:
    assert describe_levels(np.zeros((1, 100), dtype=np.float32)).endswith("silent")
    assert describe_levels(np.ones((1, 100), dtype=np.float32)) == "   0.0 dBFS, peak 1.00, clipped"
    assert describe_levels(np.full((1, 100), 0.1, dtype=np.float32)) == " -20.0 dBFS, peak 0.10, ok"
