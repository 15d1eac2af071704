"""A bench of retraining on the tiny corpus: six trainings of twelve steps."""

from __future__ import annotations

from pathlib import Path

from support import tiny

BENCH = """
[retraining]
seconds = 1.0
embed_dim = 32
depth = 1
num_heads = 1
short_every = 4
short_s = 0.4
halves = 4
repeats = 1
full = 1
steps = 12
batch = 4
save_every = 4
clips = 5
replicates = 2
strata = 4
remove = 3
removal_clips = 2
removal_methods = ["dtrak", "clap"]
results = "{out}/results"
"""


def write_bench(root: Path, out: Path) -> Path:
    """The config of a bench in `out`, for the models in `root`."""
    path = tiny.write_run(root, out)
    path.write_text(path.read_text() + BENCH.format(out=out))
    return path
