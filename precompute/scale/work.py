"""What every process of a pass does: load once, then shard after shard; and what its driver does before and after.

`Work.prepare` (the driver) makes all that tracks need: latents, clips, curvature, directions, and the manifest.
`Work.attach` (a worker) reads them, without looking at the corpus's audio again. `Work.collect` (the driver) hands
finished shards to the run's own cache, where `precompute run` finds everything done and publishes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from precompute.common.cache import Cache, Entry
from precompute.common.torch_setup import setup_torch
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents, make_items
from precompute.errors import UserError
from precompute.gradients import track_pass
from precompute.gradients.directions import StepTap, Tap
from precompute.methods.base import Context, GradientMethod
from precompute.methods.catalogue import build
from precompute.model.diffusion import Items, Model, load_model
from precompute.pipeline import make_context
from precompute.scale import shards
from precompute.scale.manifest import Manifest
from precompute.scale.shards import Shard, TapResult


@dataclass
class Work:
    """A pass as one process holds it."""

    context: Context
    taps: dict[str, Tap]  # by the prefix of their columns
    folder: Path
    manifest: Manifest

    @classmethod
    def prepare(cls, config: RunConfig) -> Work:
        """Everything but the tracks' gradients; prints what it does."""
        cache = Cache(Path(config.output.work) / "cache")
        print("corpus", flush=True)
        corpus, model = load_corpus(config), load_model(config)
        items, track_key = load_latents(model, corpus, config, cache)
        _keep_embeddings(items, track_key, cache)
        context = make_context(model, corpus, config, cache, (items, track_key))[0]
        taps = _taps(context)
        for tap in taps.values():
            tap.prepare()
            tap.release()
        kept = {name: (tap.stage, track_pass.kept_as(tap, model)) for name, tap in taps.items()}
        key = fingerprint(kept, track_key, context.key)
        times = items.times()
        contents = [_content(items, times, row) for row in range(len(items))]
        ids = [track.track_id for track in corpus.tracks]
        cuts = shards.cut(key, ids, contents, config.pass_.shard_tracks)
        folder = Path(config.output.work) / "pass" / key
        folder.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(key, track_key, kept, cuts, corpus.tracks, str(corpus.root))
        manifest.write(folder)
        return cls(context, taps, folder, manifest)

    @classmethod
    def attach(cls, config: RunConfig, folder: Path) -> Work:
        """A worker's: reads what the driver prepared. Raises UserError where that is something else."""
        manifest, cache = Manifest.read(folder), Cache(Path(config.output.work) / "cache")
        corpus = Corpus(manifest.tracks, Path(manifest.corpus_root))
        model = load_model(config)
        items = _items(model, corpus, manifest.track_key, cache)
        context = make_context(model, corpus, config, cache, (items, manifest.track_key))[0]
        taps = _taps(context)
        kept = {name: (tap.stage, track_pass.kept_as(tap, model)) for name, tap in taps.items()}
        if fingerprint(kept, manifest.track_key, context.key) != manifest.key:
            raise UserError(f"{folder}: prepared with other settings than this worker's; start the pass again")
        for tap in taps.values():
            if isinstance(tap, StepTap):
                tap.directions.memory_gb = 0.0  # on disk: the workers of a machine share what the system holds of it
            tap.prepare()
        return cls(context, taps, folder, manifest)

    def missing(self) -> list[Shard]:
        """Shards without a whole file."""
        return [shard for shard in self.manifest.shards if not shards.is_finished(self.folder, shard)]

    def compute(self, shard: Shard) -> None:
        """Do one shard and keep it."""
        context = self.context
        taken = track_pass.of_shard(context.model, context.items, shard.rows, list(self.taps.values()), context.bank)
        results = {n: TapResult(taken[t].arrays, taken[t].own_s, taken[t].gradient_s) for n, t in self.taps.items()}
        shards.write(self.folder, shard, results)

    def is_collected(self) -> bool:
        """Whether the run's cache holds everything already."""
        numbers = range(-(-len(self.context.items) // track_pass.SHARD))
        keys = self.manifest.taps.values()
        return all(self.context.cache.has(Entry(stage, key, n)) for stage, key in keys for n in numbers)

    def collect(self) -> None:
        """Finished shards into the run's cache, every track exactly once. Raises UserError where one is not whole."""
        order = [i for shard in self.manifest.shards for i in shard.track_ids]
        wanted = [track.track_id for track in self.context.tracks]
        if order != wanted:
            raise UserError(f"{self.folder}: its shards do not hold every track once; remove it and start again")
        for name, tap in self.taps.items():
            parts: list[TapResult] = []
            for shard in self.manifest.shards:
                try:
                    parts.append(shards.read(self.folder, shard)[name])
                except (ValueError, FileNotFoundError) as error:
                    raise UserError(f"{error}; start the pass again, and it is done again") from error
            arrays = {n: np.concatenate([part.arrays[n] for part in parts]) for n in parts[0].arrays}
            own, gradient = (sum(getattr(p, f) for p in parts) / len(wanted) for f in ("own_s", "gradient_s"))
            for number, start in enumerate(range(0, len(wanted), track_pass.SHARD)):
                piece = {n: a[start : start + track_pass.SHARD] for n, a in arrays.items()}
                count = min(track_pass.SHARD, len(wanted) - start)
                taken = track_pass.Taken(piece, own * count, gradient * count)
                track_pass.keep(tap, self.context.model, number, taken, self.context.cache)

    def free_model(self) -> None:
        """Leave the accelerator to the workers."""
        if self.context.model.device.type != "cpu":
            self.context.model.network.cpu()
            torch.cuda.empty_cache()


def worker(config: RunConfig, folder: Path, threads: int, number: int) -> Work:
    """What a launcher calls in a worker of its own, once."""
    setup_torch()
    torch.set_num_threads(threads)
    return Work.attach(on_device(config, number), folder)


def on_device(config: RunConfig, number: int) -> RunConfig:
    """The config with this process's own card, where the device is `cuda` without a number."""
    if config.model.device != "cuda" or not torch.cuda.is_available():
        return config
    return replace(config, model=replace(config.model, device=f"cuda:{number % torch.cuda.device_count()}"))


def _taps(context: Context) -> dict[str, Tap]:
    """Of all gradient methods that can run, shared ones once; the names are columns' prefixes."""
    found: dict[tuple[str, str], Tap] = {}
    for name in context.config.methods.run:
        method = build(name, context.config, len(context.trained))
        own = context.of(method)
        if isinstance(method, GradientMethod) and method.requirements(own) is None:
            for tap in method.taps(own).values():
                found.setdefault((tap.stage, tap.key), tap)
    if not found:
        raise UserError("[methods] run: none of these methods looks at gradients of tracks; `precompute run` does them")
    return {f"t{number}": tap for number, tap in enumerate(found.values())}


def _content(items: Items, times: torch.Tensor, row: int) -> str:
    """Hash of all that a track brings."""
    digest = hashlib.sha256(items.latents[row].contiguous().numpy().tobytes())
    digest.update(
        f"{items.prompts[row]}|{float(items.seconds[row])}|{int(items.valid_frames[row])}|{times[row].tolist()}".encode()
    )
    return digest.hexdigest()


def _keep_embeddings(items: Items, key: str, cache: Cache) -> None:
    if items.embeddings is not None:
        embeddings = items.embeddings.cpu().numpy()
        cache.ensure(Entry("embeddings", key), lambda: {"embeddings": embeddings})


def _items(model: Model, corpus: Corpus, key: str, cache: Cache) -> Items:
    """The tracks as the driver prepared them."""
    embeddings = None
    if model.is_clap_conditioned:
        embeddings = torch.from_numpy(cache.map(Entry("embeddings", key))["embeddings"]).to(model.device)
    return make_items(model, corpus.tracks, key, cache, embeddings)
