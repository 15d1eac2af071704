"""Encodes the decoys that ship without sound: `python data/demo/encode.py [--sound DIR]`, after `build.py`.

Writes `assets/demo/decoy-latents.npz` with the shipped autoencoder. Needs the extra [precompute].
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "assets" / "demo"


def encode_decoys(manifest: Path, sound: Path, out: Path) -> int:
    """Write the latents of every decoy without a path from `sound`/NNNN.mp3; returns how many."""
    from precompute.common.progress import progress
    from precompute.corpus.audio import read_audio
    from precompute.corpus.packed import write_latents
    from precompute.corpus.tracks import read_manifest
    from precompute.model.diffusion import Model

    model = Model.load(MODEL / "model_config.json", MODEL / "model.safetensors", MODEL / "clap", "cpu")
    decoys = [t for t in read_manifest(manifest) if t.is_decoy and t.path is None]
    latents = {}
    for track in progress("decoys", decoys):
        wave = read_audio(sound / f"{track.track_id:04d}.mp3", model.sample_rate, model.channels)
        latents[track.track_id] = model.encode(wave).numpy()
    silence = model.encode(np.zeros((model.channels, model.ratio), np.float32)).numpy()
    write_latents(out, latents, silence)
    return len(latents)


def main() -> int:
    """Encode; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, default=ROOT / "data/demo/manifest.csv")
    parser.add_argument("--sound", type=Path, default=ROOT / "data/work/demo-decoys", help="folder of NNNN.mp3")
    parser.add_argument("--out", type=Path, default=MODEL / "decoy-latents.npz")
    options = parser.parse_args()
    count = encode_decoys(options.manifest, options.sound, options.out)
    print(f"{options.out}: {count} decoys, {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
