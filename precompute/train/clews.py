"""The verb `train-clews`: trains a small CLEWS for the demo, on works that the demo's corpus does not hold.

Loss (arXiv 2502.16936, as in its code): mean distance of versions of one work, by the best pairs of windows, + log(1 +
beta mean exp(b - gamma x distance of the nearest windows of different works)). Augmented on the constant-Q magnitudes:
moved by semitones, stretched in time, a band and a stretch of time silenced. Reported: mean average precision (mAP) of
held-out works, each rendering a query among all the others.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from precompute.common import seeds
from precompute.common.progress import progress
from precompute.common.seeds import derive_seed
from precompute.config.reading import name_file, read_settings, read_toml
from precompute.corpus.audio import read_audio
from precompute.errors import UserError, need
from precompute.model.clews import Clews, ClewsShape, average_best_pairs, compute_distances, cut_windows, save_clews
from precompute.model.diffusion import check_device
from precompute.train.loop import LoopSettings, fit

NAME = "clews"  # of the checkpoints in the work folder
GAMMA, EPSILON, SHIFT = 5.0, 1e-6, 10.0  # of the loss; beta = 1 / (EPSILON exp(SHIFT))
PAIRS = 5  # best pairs of windows when measuring, as in the method
CALIBRATION_STEPS = 30  # batches that the running statistics are taken from, once the weights stand


@dataclass(frozen=True)
class RenderingSettings:
    """Section [material]: how many works are rendered, and how often."""

    works: int = 1000
    held_out: int = 100
    renderings: int = 3

    def __post_init__(self) -> None:
        need(self.renderings >= 2, f"[material] renderings = {self.renderings}: a work needs at least 2")
        need(2 <= self.held_out <= self.works - 2, f"[material] held_out = {self.held_out}: leave 2 works on each side")


@dataclass(frozen=True)
class BatchSettings:
    """Section [batch]: what a training step is computed from."""

    works: int = 16  # two renderings of each
    windows: int = 4  # of a rendering
    pairs: int = 3  # best pairs of windows by which two versions are pulled together: not all, since tempos differ

    def __post_init__(self) -> None:
        need(self.works >= 2, f"[batch] works = {self.works}: the loss needs different ones")
        for name in ("windows", "pairs"):
            need(getattr(self, name) >= 1, f"[batch] {name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class AugmentSettings:
    """Section [augment]: changes of a rendering; small ones, since renderings differ in key, tempo and instruments.

    Held-out mAP after 40 s of one core on 183 works (chance 0.04): 0.06 with 5 semitones and 15 % silenced, 0.12
    without both.
    """

    semitones: int = 0  # moved by at most, either way
    slowest: float = 0.8  # times its tempo, at least
    fastest: float = 1.25
    mask: float = 0.0  # of the bins and of the frames, silenced at most

    def __post_init__(self) -> None:
        need(self.semitones >= 0, f"[augment] semitones = {self.semitones}: must be 0 or more")
        need(0 <= self.mask < 1, f"[augment] mask = {self.mask}: must be 0 or more, and below 1")
        need(0 < self.slowest <= self.fastest, f"[augment] slowest = {self.slowest}: must be above 0, up to fastest")


@dataclass(frozen=True)
class TrainClewsSettings:
    """The whole of `configs/train-clews.toml`; paths are absolute."""

    versions: Path
    work: Path
    out: Path
    seed: int
    material: RenderingSettings
    network: ClewsShape
    batch: BatchSettings
    training: LoopSettings
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    @classmethod
    def load(cls, path: Path, root: Path) -> TrainClewsSettings:
        """Read the settings from TOML; paths in it are below `root`. Raises UserError naming the field at fault."""
        _, table = read_toml(path)
        with name_file(path):
            settings = read_settings(cls, table, root=root)
        return replace(settings, training=replace(settings.training, seed=settings.seed))


@dataclass(frozen=True)
class VersionSpectra:
    """Constant-Q magnitudes of all windows of one side of the split, [V, windows, bins, frames] float16."""

    spectra: torch.Tensor
    counts: list[int]  # windows of each version; further ones repeat the first
    works: torch.Tensor  # [V] int64


def train_clews(
    settings: TrainClewsSettings, builder: Path, result: Path, device: str = "cpu", resume: bool = False
) -> dict[str, Any]:
    """Render the works where they are not there (with `builder`), train, measure, save; writes `result` and returns it.

    Raises UserError where the work folder holds a run that `resume` does not ask to go on with.
    """
    if list(settings.work.glob(f"{NAME}.*")) and not resume:
        raise UserError(f"{settings.work}: holds a run; add --resume to go on with it, or remove it")
    check_device(device)
    rows = _load_rows(settings, builder)
    torch.manual_seed(settings.seed)
    network = Clews(settings.network).to(device)
    train, held_out = (_compute_spectra(network, settings, rows, split) for split in ("train", "held-out"))
    before = compute_mean_average_precision(network, held_out)
    print(
        f"train-clews: {_format_millions(network)} million parameters; mAP of held-out works untrained {before:.3f}",
        flush=True,
    )
    loss = ClewsLoss(network, train, settings.batch, settings.augment)
    fit(NAME, network.train(), loss, settings.training, settings.work)
    _refit_running_statistics(network, loss, settings)
    save_clews(network, settings.out)
    return _measure_and_write(settings, network, train, held_out, before, result)


def _load_rows(settings: TrainClewsSettings, builder: Path) -> list[dict[str, str]]:
    """Rows of versions.csv, which is made where it is not there. Raises UserError."""
    table, material = settings.versions / "versions.csv", settings.material
    if not table.is_file():
        options = ("--works", material.works, "--held-out", material.held_out, "--renderings", material.renderings)
        print(f"train-clews: rendering {material.works} works into {settings.versions}", flush=True)
        command = [sys.executable, str(builder), "--out", str(settings.versions), *map(str, options)]
        if subprocess.run(command, check=False).returncode:
            raise UserError(
                f"{settings.versions}: could not be made, see above; data/demo/versions.py says what it needs"
            )
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    works = {split: {r["work_id"] for r in rows if r["split"] == split} for split in ("train", "held-out")}
    if works["train"] & works["held-out"] or min(map(len, works.values())) < 2:
        raise UserError(f"{table}: needs two works or more on each side of the split, and none on both")
    return rows


@torch.no_grad()
def _compute_spectra(
    network: Clews, settings: TrainClewsSettings, rows: list[dict[str, str]], split: str
) -> VersionSpectra:
    """Constant-Q magnitudes of all versions on one side of the split."""
    shape = settings.network
    rate, device = shape.sample_rate, next(network.parameters()).device
    own = [row for row in rows if row["split"] == split]
    number = {name: k for k, name in enumerate(dict.fromkeys(row["work_id"] for row in own))}
    parts = []
    for row in progress(f"constant-Q, {split}", own):
        wave = read_audio(settings.versions / row["path"], rate, 1)[0]
        windows = cut_windows(wave, int(shape.window_s * rate), int(shape.hop_s * rate))
        parts.append(network.spectra(torch.from_numpy(windows).to(device)).half().cpu())
    counts = [len(part) for part in parts]
    most = max(counts)
    filled = torch.stack([part[torch.arange(most) % len(part)] for part in parts])
    return VersionSpectra(filled, counts, torch.tensor([number[row["work_id"]] for row in own]))


class ClewsLoss:
    """Named losses of random works, two renderings of each, for `loop.fit`."""

    def __init__(
        self, network: Clews, versions: VersionSpectra, batch: BatchSettings, augment: AugmentSettings
    ) -> None:
        self.network, self.versions, self.batch, self.augment = network, versions, batch, augment
        self.members = [torch.nonzero(versions.works == k)[:, 0].tolist() for k in range(int(versions.works.max()) + 1)]

    def __call__(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a step; all its random choices come from the generator."""
        spectra, works = self.draw_windows(generator)
        embedded = self.network.embed(spectra.flatten(0, 1).to(next(self.network.parameters()).device))
        return compute_version_loss(embedded.unflatten(0, spectra.shape[:2]), works, self.batch.pairs)

    def draw_windows(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented windows [B, windows, bins, frames] and their works [B]."""
        chosen = torch.randperm(len(self.members), generator=generator)[: self.batch.works].tolist()
        rows = []
        for work in chosen:
            order = torch.randperm(len(self.members[work]), generator=generator)[:2].tolist()
            rows += [self.members[work][k] for k in order]
        spectra = []
        for row in rows:
            windows = torch.randperm(self.versions.counts[row], generator=generator)
            picked = windows[torch.arange(self.batch.windows) % len(windows)]
            spectra.append(augment(self.versions.spectra[row][picked].float(), self.augment, generator))
        return torch.stack(spectra), self.versions.works[rows]


def compute_version_loss(embedded: torch.Tensor, works: torch.Tensor, pairs: int = PAIRS) -> dict[str, torch.Tensor]:
    """The loss and its two parts, from embeddings [B, windows, d] and works [B]."""
    between = compute_distances(embedded[:, None], embedded[None])  # [B, B, windows, windows]
    same = works[:, None] == works[None]
    versions = same & ~torch.eye(len(works), dtype=torch.bool)
    align = average_best_pairs(between, pairs)[versions].mean()
    nearest = between.amin((-1, -2))[~same]
    uniform = torch.log1p((SHIFT - GAMMA * nearest).exp().mean() / (EPSILON * math.exp(SHIFT)))
    return {"loss": align + uniform, "align": align.detach(), "uniform": uniform.detach()}


def augment(spectra: torch.Tensor, settings: AugmentSettings, generator: torch.Generator) -> torch.Tensor:
    """Windows [S, bins, frames] of one rendering, all changed alike: other key and tempo, parts silenced."""

    def within(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=generator))

    bins, frames = spectra.shape[1:]
    shift = int(torch.randint(-settings.semitones, settings.semitones + 1, (1,), generator=generator))
    moved = torch.zeros_like(spectra)
    moved[:, max(shift, 0) : bins + min(shift, 0)] = spectra[:, max(-shift, 0) : bins + min(-shift, 0)]
    length = round(frames / within(settings.slowest, settings.fastest))
    stretched = F.interpolate(moved, size=length, mode="linear", align_corners=False)
    moved = stretched[..., torch.arange(frames) % length]
    for axis, size in ((1, bins), (2, frames)):
        width = round(size * within(0, settings.mask))
        start = round(within(0, size - width))
        moved.narrow(axis, start, width).zero_()
    return moved


@torch.no_grad()
def _refit_running_statistics(network: Clews, loss: ClewsLoss, settings: TrainClewsSettings) -> None:
    """Take the running statistics anew, by the averaged weights: `fit` ends with weights that no batch went through."""
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches
    network.train()
    for step in range(CALIBRATION_STEPS):
        loss(step, torch.Generator().manual_seed(derive_seed(settings.seed, settings.training.steps + step)))
    network.eval()


@torch.no_grad()
def compute_mean_average_precision(network: Clews, versions: VersionSpectra) -> float:
    """Mean over queries of the average precision; each rendering is a query among all others, ranked by distance."""
    network.eval()
    device = next(network.parameters()).device
    embedded = [
        network.embed(spectra[:count].float().to(device)).cpu()
        for spectra, count in zip(versions.spectra, versions.counts, strict=True)
    ]
    counts = np.array(versions.counts)
    alike = [np.flatnonzero(counts == windows) for windows in np.unique(counts)]  # compared at once
    stacked = [torch.stack([embedded[row] for row in rows]) for rows in alike]
    precisions, far = [], np.empty(len(counts))
    for query in range(len(embedded)):
        for rows, others in zip(alike, stacked, strict=True):
            far[rows] = average_best_pairs(compute_distances(embedded[query], others), PAIRS).numpy()
        order = [k for k in np.argsort(far, kind="stable") if k != query]
        precisions.append(compute_average_precision((versions.works[order] == versions.works[query]).numpy()))
    return float(np.mean(precisions))


def compute_average_precision(relevant: np.ndarray) -> float:
    """Average precision of a ranking, bool [N], best first: mean of the precision at the rank of each relevant one."""
    ranks = np.flatnonzero(relevant) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _measure_and_write(
    settings: TrainClewsSettings,
    network: Clews,
    train: VersionSpectra,
    held_out: VersionSpectra,
    before: float,
    result: Path,
) -> dict[str, Any]:
    from precompute.common.results import describe_hardware, write_result

    after = compute_mean_average_precision(network, held_out)
    chance = np.random.default_rng(seeds.CLEWS_CHANCE)
    shuffled = [compute_average_precision(chance.permutation(_find_relevant(held_out))) for _ in range(200)]
    row = {
        "works": int(held_out.works.max()) + 1,
        "renderings": len(held_out.works),
        "map": after,
        "map_untrained": before,
        "map_chance": float(np.mean(shuffled)),
        "parameters": sum(p.numel() for p in network.parameters()),
        "size_mb": settings.out.stat().st_size / 1e6,
    }
    print(
        f"train-clews: {settings.out}; mAP of {row['works']} held-out works {after:.3f}"
        f" (untrained {before:.3f}, chance {row['map_chance']:.3f}); {row['size_mb']:.2f} MB",
        flush=True,
    )
    parts = {name: asdict(getattr(settings, name)) for name in ("network", "batch", "augment", "training")}
    as_json = json.loads(json.dumps(parts))
    device = str(next(network.parameters()).device)
    what = "mean average precision of a version matcher over held-out works, each rendering a query among the others"
    return write_result(
        result,
        what,
        "python -m precompute train-clews",
        describe_hardware(device),
        [row],
        trained_works=int(train.works.max()) + 1,
        settings=as_json,
    )


def _find_relevant(versions: VersionSpectra) -> np.ndarray:
    """Relevance of the others to the first query, in no order."""
    return (versions.works[1:] == versions.works[0]).numpy()


def _format_millions(network: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}"
