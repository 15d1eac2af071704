"""`python -m precompute train-demo`: makes the embedded models from the embedded corpus, resumable at any point.

Autoencoder, CLAP and diffusion transformer see training tracks only; decoys are encoded and measured at the end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from precompute import quiet
from precompute.clap import Clap, mel_features
from precompute.config import read_toml
from precompute.corpus import Track, read_audio, read_manifest
from precompute.errors import UserError
from precompute.model import Items, Model, NoiseBank
from precompute.train import autoencoder as ae
from precompute.train import clap as small_clap
from precompute.train.diffusion import DiffusionLoss, mean_loss
from precompute.train.loop import LoopSettings, fit, save_atomically

CARD_TRACKS = 96  # of each kind, for the losses of the model card


@dataclass(frozen=True)
class TrainDemoSettings:
    """The whole of `configs/train-demo.toml`; paths are absolute."""

    manifest: Path
    model_config: Path
    work: Path
    out: Path
    decoy_audio: Path
    seed: int
    autoencoder: LoopSettings
    clap: LoopSettings
    diffusion: LoopSettings
    keep_at: tuple[int, ...]

    @classmethod
    def load(cls, path: Path, root: Path) -> TrainDemoSettings:
        """Raises UserError naming the field at fault."""
        _, table = read_toml(path)
        try:
            seed = int(table["seed"])
            keep_at = tuple(table["diffusion"].pop("keep_at"))
            loops = {name: LoopSettings(seed=seed, **table[name]) for name in ("autoencoder", "clap", "diffusion")}
            paths = {name: root / table[name] for name in ("manifest", "model_config", "work", "out", "decoy_audio")}
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: {error} is missing or not a setting") from error
        return cls(**paths, seed=seed, keep_at=(*keep_at, loops["diffusion"].steps), **loops)


def train_demo(settings: TrainDemoSettings, device: str = "cpu") -> None:
    """Run what is not yet done of: autoencoder, CLAP, diffusion transformer, export."""
    torch.manual_seed(settings.seed)
    tracks = read_manifest(settings.manifest)
    config = json.loads(settings.model_config.read_text())
    train = [t for t in tracks if not t.is_decoy]
    network = quiet.create_network(config).to(device)
    print(f"train-demo: {len(train)} training tracks; {_millions(network)} million parameters with the autoencoder")
    audio = [torch.from_numpy(wave) for wave in _load_audio(train, config)]

    autoencoder = network.pretransform.model.eval().requires_grad_(True)  # train() would only add checkpointing
    fit("autoencoder", autoencoder, ae.AutoencoderLoss(autoencoder, audio), settings.autoencoder, settings.work)
    clap = _train_clap(settings, config, train, audio, device)
    model = Model(network, config, clap, sha256="")
    if "scale" not in (state := _state(settings.work / "latents.pt")):
        latents = torch.stack([model.encode(wave.numpy()) for wave in audio])
        state = {"scale": float(latents.std()), "latents": latents}
        save_atomically(state, settings.work / "latents.pt")
    config["model"]["pretransform"]["scale"] = state["scale"]  # latents near unit variance
    model.network.pretransform.scale = state["scale"]
    items = _items(model, train, state["latents"] / state["scale"])
    decoys = [t for t in tracks if t.is_decoy]
    decoy_waves = _load_audio([_with_audio(t, settings.decoy_audio) for t in decoys], config)
    decoy_items = _items(model, decoys, torch.stack([model.encode(wave) for wave in decoy_waves]))

    card: dict[str, Any] = {"losses": []}
    card_rows = _card_rows(train), list(range(0, len(decoys), max(1, len(decoys) // CARD_TRACKS)))[:CARD_TRACKS]

    def keep(step: int) -> None:
        bank = NoiseBank(replicates=2, strata=8, draws_per_cell=1, seed=77)
        pair = [
            mean_loss(model, group[rows], bank) for group, rows in zip((items, decoy_items), card_rows, strict=True)
        ]
        row = {"step": step, "train": pair[0], "decoy": pair[1]}
        print(f"diffusion at {step}: loss on training tracks {pair[0]:.4f}, on decoys {pair[1]:.4f}", flush=True)
        with (settings.work / "losses.jsonl").open("a") as handle:
            handle.write(json.dumps(row) + "\n")
        export(model.network, config, settings.work / "checkpoints" / f"step-{step:06d}")

    model.network.model.requires_grad_(True)
    model.network.conditioner.requires_grad_(True)
    loss = DiffusionLoss(model.network, model, items)
    fit("diffusion", model.network, loss, settings.diffusion, settings.work, settings.keep_at, keep)

    export(model.network, config, settings.out)
    clap.model.half().save_pretrained(settings.out / "clap")
    clap.model.float()
    clap.tokenizer.save_pretrained(settings.out / "clap")
    clap.extractor.save_pretrained(settings.out / "clap")
    shipped = {
        f"{t.track_id}": z.half().numpy() for t, z in zip(decoys, decoy_items.latents, strict=True) if not t.path
    }
    np.savez(settings.out / "decoy-latents.npz", **shipped)
    rows = [json.loads(line) for line in (settings.work / "losses.jsonl").read_text().splitlines()]
    card["losses"] = list({row["step"]: row for row in rows}.values())
    card["reconstruction_decoys"] = ae.reconstruction_quality(
        model.network.pretransform.model, [torch.from_numpy(w) for w in decoy_waves[:64]]
    )
    card["latent_scale"] = state["scale"]
    card["clap_decoys"] = small_clap.retrieval_accuracy(
        clap.model, clap.tokenizer, _mels(clap.extractor, decoy_waves), [t.caption for t in decoys]
    )
    card["parameters"] = {
        "autoencoder": _count(network.pretransform),
        "transformer": _count(network.model),
        "clap": _count(clap.model),
    }
    (settings.out / "model-card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"train-demo: done; {settings.out}", flush=True)


def export(network: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write model_config.json and model.safetensors (fp16) that stable-audio-tools loads."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().half().contiguous().cpu() for name, value in network.state_dict().items()}
    save_file(state, str(folder / "model.safetensors"))
    (folder / "model_config.json").write_text(json.dumps(config, indent=2) + "\n")


def _items(model: Model, tracks: list[Track], latents: torch.Tensor) -> Items:
    return model.items([t.caption for t in tracks], [t.duration_s for t in tracks], latents)


def _train_clap(
    settings: TrainDemoSettings, config: dict[str, Any], train: list[Track], audio: list[torch.Tensor], device: str
) -> Clap:
    captions = [t.caption for t in train]
    tokenizer = small_clap.build_tokenizer(captions)
    extractor = small_clap.build_extractor(config["sample_rate"], config["sample_size"] / config["sample_rate"])
    torch.manual_seed(settings.seed)
    model = small_clap.build_model(len(tokenizer)).to(device)
    mel = _mels(extractor, [wave.numpy() for wave in audio])
    loss = small_clap.ClapLoss(model, tokenizer, mel, captions)
    fit("clap", model, loss, settings.clap, settings.work)
    return Clap(model, tokenizer, extractor)


def _mels(extractor: object, waves: list[np.ndarray]) -> torch.Tensor:
    return torch.cat([mel_features(extractor, [wave.mean(0)]) for wave in waves])


def _load_audio(tracks: list[Track], config: dict[str, Any]) -> list[np.ndarray]:
    longest = config["sample_size"]
    channels = config.get("audio_channels", 2)
    return [read_audio(t.path, config["sample_rate"], channels)[:, :longest] for t in tracks if t.path]


def _with_audio(track: Track, folder: Path) -> Track:
    """A decoy without shipped audio, found where `data/demo/build.py` leaves it."""
    from dataclasses import replace

    if track.path is not None:
        return track
    path = folder / f"{track.track_id:04d}.mp3"
    if not path.exists():
        raise UserError(f"{path}: not found; run `python data/demo/build.py` first (it renders the decoys)")
    return replace(track, path=path)


def _card_rows(train: list[Track]) -> list[int]:
    regular = [i for i, t in enumerate(train) if not t.planted]
    return regular[:: max(1, len(regular) // CARD_TRACKS)][:CARD_TRACKS]


def _state(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True) if path.exists() else {}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _millions(module: nn.Module) -> str:
    return f"{_count(module) / 1e6:.1f}"
