"""A run that quality can be measured on."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from precompute.config.run import RunConfig
from support import tiny


@pytest.fixture(scope="session")
def run(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The tiny run, with two instruments: its collections."""
    config = RunConfig.load(tiny.write_run(tiny_root, tmp_path_factory.mktemp("quality")))
    manifest = tiny_root / "corpus" / "instruments.csv"
    with (tiny_root / "corpus" / "manifest.csv").open(newline="") as handle:
        rows = [{**row, "instrument": row["collection"]} for row in csv.DictReader(handle)]
    with manifest.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return replace(config, corpus=replace(config.corpus, manifest=str(manifest)))
