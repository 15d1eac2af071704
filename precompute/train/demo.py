"""The verb `train-demo`: trains the embedded models on the embedded corpus; a killed run goes on where it was.

Autoencoder, CLAP and diffusion transformer see training tracks only; decoys are encoded and measured at the end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from precompute.common import seeds
from precompute.common.files import write_atomically
from precompute.config.reading import name_file, read_settings, read_toml
from precompute.corpus.audio import read_audio
from precompute.corpus.packed import write_latents
from precompute.corpus.tracks import Track, read_manifest
from precompute.errors import UserError
from precompute.model.clap import Clap, compute_mel
from precompute.model.diffusion import Items, Model, NoiseBank, check_device, third_party
from precompute.train import autoencoder as ae
from precompute.train import clap as small_clap
from precompute.train.diffusion import DiffusionLoss, measure_mean_loss
from precompute.train.loop import LoopSettings, fit, save_state

STAGES = ("autoencoder", "clap", "diffusion")
CARD_TRACKS = 64  # of each kind, from which the model card's losses and reconstructions are measured
AUDIO_KEPT = 4  # decoys whose reconstruction, or a clip under whose caption, is kept beside a log


@dataclass(frozen=True)
class TrainDemoSettings:
    """The whole of a `configs/train-demo-*.toml`; paths are absolute."""

    manifest: Path
    model_config: Path
    work: Path
    out: Path
    decoy_audio: Path
    seed: int
    autoencoder: LoopSettings
    clap: LoopSettings
    diffusion: LoopSettings

    @classmethod
    def load(cls, path: Path, root: Path) -> TrainDemoSettings:
        """Read the settings from TOML; paths in it are below `root`. Raises UserError naming the field at fault."""
        _, table = read_toml(path)
        with name_file(path):
            settings = read_settings(cls, table, root=root)
        return replace(settings, **{n: replace(getattr(settings, n), seed=settings.seed) for n in STAGES})


@dataclass(frozen=True)
class TrainingAudio:
    """The tracks that are trained on, and the decoys that are only measured."""

    train: list[Track]
    decoys: list[Track]
    train_audio: list[torch.Tensor]  # [channels, T] each, at the model's rate
    decoy_audio: list[torch.Tensor]

    @property
    def measured(self) -> dict[str, list[int]]:
        """Rows of `train` and `decoys`, evenly spread, that the model card's figures are measured on."""
        regular = [i for i, t in enumerate(self.train) if not t.planted]
        rows = {"train": regular, "decoy": list(range(len(self.decoys)))}
        return {kind: all_[:: max(1, len(all_) // CARD_TRACKS)][:CARD_TRACKS] for kind, all_ in rows.items()}


def train_demo(settings: TrainDemoSettings, device: str = "cpu", resume: bool = False) -> None:
    """Train what is not trained yet of autoencoder, CLAP and diffusion transformer, then export all.

    Raises UserError where `settings.work` holds an earlier run that `resume` does not ask to go on with.
    """
    begun = [name for name in STAGES if list(settings.work.glob(f"{name}.*"))]
    if begun and not resume:
        raise UserError(
            f"{settings.work}: holds a run ({', '.join(begun)}); add --resume to go on with it, or remove it"
        )
    check_device(device)
    torch.manual_seed(settings.seed)
    config = json.loads(settings.model_config.read_text())
    material = _load_audio(settings, config)
    network: Any = third_party.create_network(config).to(device)  # stable-audio-tools brings no types
    print(
        f"train-demo: {len(material.train)} training tracks; {_format_millions(network)} million parameters", flush=True
    )

    _train_autoencoder(settings, network, material)
    clap = _train_clap(settings, config, material, device)
    model = Model(network, config, clap, sha256="")
    train_items, decoy_items = _encode_tracks(settings, model, material)
    _train_diffusion(settings, model, config, material, train_items, decoy_items)

    export_model(model.network, config, settings.out)
    parts: tuple[Any, ...] = (clap.model.half(), clap.tokenizer, clap.extractor)  # of transformers
    for part in parts:
        part.save_pretrained(settings.out / "clap")
    clap.model.float()
    latents = {t.track_id: z.numpy() for t, z in zip(material.decoys, decoy_items.latents, strict=True) if not t.path}
    silence = model.encode(np.zeros((model.channels, model.ratio), np.float32)).numpy()
    write_latents(settings.out / "decoy-latents.npz", latents, silence)
    card = {
        "losses": _read_log(settings.work / "losses.jsonl"),
        "reconstruction": _read_log(settings.work / "reconstruction.jsonl"),
        "latent_scale": network.pretransform.scale,
        "clap_decoys": small_clap.measure_retrieval(
            clap.model,
            clap.tokenizer,
            _compute_mels(clap.extractor, material.decoy_audio),
            [t.caption for t in material.decoys],
        ),
        "parameters": {
            "autoencoder": _count_parameters(network.pretransform),
            "transformer": _count_parameters(network.model),
            "clap": _count_parameters(clap.model),
        },
    }
    write_atomically(settings.out / "model-card.json", json.dumps(card, indent=1) + "\n")
    print(f"train-demo: done; {settings.out}", flush=True)


def _train_autoencoder(settings: TrainDemoSettings, network: Any, material: TrainingAudio) -> None:
    autoencoder = network.pretransform.model.eval().requires_grad_(True)  # train() would only add checkpointing
    rate = autoencoder.sample_rate

    def keep(step: int) -> None:
        groups = {"train": material.train_audio, "decoy": material.decoy_audio}
        chosen = {kind: [groups[kind][i] for i in rows] for kind, rows in material.measured.items()}
        row = {kind: ae.measure_reconstruction(autoencoder, waves) for kind, waves in chosen.items()}
        _append_row(settings.work / "reconstruction.jsonl", {"step": step, **row})
        shown = ", ".join(f"{kind} {values['si_sdr_db']:.2f} dB" for kind, values in row.items())
        print(f"autoencoder at {step}: SI-SDR {shown}", flush=True)
        for number, wave in enumerate(chosen["decoy"][:AUDIO_KEPT]):
            path = settings.work / "audio" / f"autoencoder-{step:06d}" / f"decoy-{number}.flac"
            _write_audio(path, ae.reconstruct(autoencoder, wave), rate)

    audio = ae.add_shifted_copies(material.train_audio)  # it learns sounds, not tracks: on decoys it must do as well
    loss = ae.AutoencoderLoss(autoencoder, audio, settings.autoencoder.batch)
    fit("autoencoder", autoencoder, loss, settings.autoencoder, settings.work, keep)
    autoencoder.requires_grad_(False)


def _train_clap(settings: TrainDemoSettings, config: dict[str, Any], material: TrainingAudio, device: str) -> Clap:
    captions = [t.caption for t in material.train]
    tokenizer = small_clap.build_tokenizer(captions)
    extractor = small_clap.build_extractor(config["sample_rate"], config["sample_size"] / config["sample_rate"])
    torch.manual_seed(settings.seed)
    model: nn.Module = small_clap.build_model(len(tokenizer))
    model = model.to(device)
    mel = _compute_mels(extractor, material.train_audio)
    loss = small_clap.ClapLoss(model, tokenizer, mel, captions, settings.clap.batch)
    fit("clap", model, loss, settings.clap, settings.work)
    return Clap(model, tokenizer, extractor)


def _encode_tracks(settings: TrainDemoSettings, model: Model, material: TrainingAudio) -> tuple[Items, Items]:
    """Encode training tracks and decoys once, scaled to near unit variance; sets the pretransform's scale."""
    path = settings.work / "latents.pt"
    if not path.exists():
        encoded = [
            torch.stack([model.encode(wave.numpy()) for wave in waves])
            for waves in (material.train_audio, material.decoy_audio)
        ]
        save_state({"scale": float(encoded[0].std()), "train": encoded[0], "decoy": encoded[1]}, path)
    state = torch.load(path, weights_only=True)
    pretransform: Any = model.network.pretransform
    pretransform.scale = state["scale"]
    tracks = (material.train, material.decoys)
    items = [
        model.items([t.caption for t in group], [t.duration_s for t in group], state[kind] / state["scale"])
        for kind, group in zip(("train", "decoy"), tracks, strict=True)
    ]
    return items[0], items[1]


def _train_diffusion(
    settings: TrainDemoSettings,
    model: Model,
    config: dict[str, Any],
    material: TrainingAudio,
    train_items: Items,
    decoy_items: Items,
) -> None:
    network: Any = model.network
    config["model"]["pretransform"]["scale"] = network.pretransform.scale
    measured = {
        kind: items[material.measured[kind]] for kind, items in (("train", train_items), ("decoy", decoy_items))
    }

    def keep(step: int) -> None:
        bank = NoiseBank(replicates=2, strata=8, draws_per_cell=1, seed=seeds.DEMO_BANK)
        row = {kind: measure_mean_loss(model, items, bank) for kind, items in measured.items()}
        print(
            f"diffusion at {step}: loss on training tracks {row['train']:.4f}, on decoys {row['decoy']:.4f}", flush=True
        )
        _append_row(settings.work / "losses.jsonl", {"step": step, **row})
        export_model(model.network, config, settings.work / "checkpoints" / f"step-{step:06d}")
        items = measured["decoy"][:AUDIO_KEPT]
        clips = model.generate(items, range(AUDIO_KEPT), steps=40, guidance=3.0)
        for number, clip in enumerate(clips):
            path = settings.work / "audio" / f"diffusion-{step:06d}" / f"clip-{number}.flac"
            _write_audio(path, model.decode(clip), model.sample_rate)

    network.model.requires_grad_(True)
    network.conditioner.requires_grad_(True)
    weights = [t.training_weight for t in material.train]
    loss = DiffusionLoss(network, model, train_items, settings.diffusion.batch, weights)
    fit("diffusion", model.network, loss, settings.diffusion, settings.work, keep)


def export_model(network: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write model_config.json and model.safetensors (fp16) as stable-audio-tools loads them."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().half().contiguous().cpu() for name, value in network.state_dict().items()}
    write_atomically(folder / "model.safetensors", save(state))
    write_atomically(folder / "model_config.json", json.dumps(config, indent=2) + "\n")


def _compute_mels(extractor: object, waves: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([compute_mel(extractor, [wave.mean(0).numpy()]) for wave in waves])


def _load_audio(settings: TrainDemoSettings, config: dict[str, Any]) -> TrainingAudio:
    tracks = read_manifest(settings.manifest)
    train = [t for t in tracks if not t.is_decoy]
    decoys = [_locate_audio(t, settings.decoy_audio) for t in tracks if t.is_decoy]

    def audio(group: list[Track]) -> list[torch.Tensor]:
        longest, channels = config["sample_size"], config.get("audio_channels", 2)
        waves = [read_audio(t.path, config["sample_rate"], channels) for t in group]  # type: ignore[arg-type]
        return [torch.from_numpy(wave[:, :longest]) for wave in waves]

    return TrainingAudio(train, [t for t in tracks if t.is_decoy], audio(train), audio(decoys))


def _locate_audio(track: Track, folder: Path) -> Track:
    """The decoy with the path of its audio; where none ships, that of the rendering by `data/demo/build.py`."""
    if track.path is not None:
        return track
    path = folder / f"{track.track_id:04d}.mp3"
    if not path.exists():
        raise UserError(f"{path}: not found; run `python data/demo/build.py` first (it renders the decoys)")
    return replace(track, path=path)


def _append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a line of JSON to a log."""
    with path.open("a") as handle:
        handle.write(json.dumps(row) + "\n")


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log; for a step that was repeated after a kill, the last row."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return list({row["step"]: row for row in rows}.values())


def _write_audio(path: Path, wave: np.ndarray, sample_rate: int) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(wave.T, -1, 1), sample_rate)


def _count_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _format_millions(module: nn.Module) -> str:
    return f"{_count_parameters(module) / 1e6:.1f}"
