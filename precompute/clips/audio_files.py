"""Audio files of the clips, as the page plays them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from precompute.clips.prompts import Prompt
from precompute.corpus.audio import read_span, write_sound
from precompute.model.batches import Items
from precompute.model.diffusion import Model

PEAK = 0.8  # full scale; clips are turned down to it, never up
FADE_S = 0.02
FORMATS: dict[str, dict[str, Any]] = {  # arguments for soundfile by the file's ending
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.2, "bitrate_mode": "VARIABLE"},
}


def write_audio(
    model: Model, items: Items, prompts: Sequence[Prompt], folder: Path, audio_format: str = "flac"
) -> list[Path]:
    """Decode, cut to the stated length, fade the last 20 ms, and write files named by clip_id and seed.

    A user's sound is written as it is, as far as the model hears it. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for row, prompt in enumerate(prompts):
        if prompt.path is not None:
            wave, rate = read_span(prompt.path, 0.0, prompt.seconds)
            path = folder / f"clip-{prompt.clip_id:03d}-own-{prompt.digest[:8]}.flac"
            write_sound(path, wave, rate)
        else:
            wave = model.decode(items.latents[row])[:, : round(float(items.seconds[row]) * model.sample_rate)]
            fade = min(wave.shape[1], int(FADE_S * model.sample_rate))
            wave[:, wave.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            wave *= min(1.0, PEAK / max(float(np.abs(wave).max()), 1e-9))
            path = folder / f"clip-{prompt.clip_id:03d}-seed-{prompt.seed}.{audio_format}"
            write_sound(path, wave, model.sample_rate, FORMATS[audio_format])
        paths.append(path)
    return paths
