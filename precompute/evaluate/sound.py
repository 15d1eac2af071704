"""What the model's sound looks like: one page of spectrograms, and the levels of every clip.

`python -m precompute look` draws decoys, their reconstructions and the generated clips, for the model card.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from precompute.cache import Cache
from precompute.clips import read_prompts
from precompute.config import RunConfig
from precompute.corpus import read_audio, read_manifest
from precompute.stages import load_clips, load_model

COLUMNS = 4
SILENT_DBFS, CLIPPED = -50.0, 0.999


def look(config: RunConfig, picture: Path) -> None:
    """Draw the page to `picture` and print a line of levels for each clip; raises nothing that is not a UserError."""
    import librosa
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    model = load_model(config)
    decoys = [t for t in read_manifest(Path(config.corpus.manifest)) if t.is_decoy and t.path is not None]
    chosen = decoys[:: max(1, len(decoys) // 6)][:6]
    panels: list[tuple[str, np.ndarray]] = []
    for track in chosen:
        wave = read_audio(track.path, model.sample_rate, model.channels)  # type: ignore[arg-type]
        panels.append((f"decoy {track.track_id}: {track.caption}", wave))
        rebuilt = model.decode(model.encode(wave))[:, : wave.shape[1]]
        panels.append(("reconstructed", rebuilt))
    prompts, clips = load_clips(model, config, Cache(Path(config.output.work) / "cache"))
    for row, prompt in enumerate(read_prompts(Path(config.clips.prompts))):
        length = round(float(clips.seconds[row]) * model.sample_rate)
        wave = model.decode(clips.latents[row])[:, :length]
        rms, peak = 20 * np.log10(np.sqrt((wave**2).mean()) + 1e-9), float(np.abs(wave).max())
        state = "silent" if rms < SILENT_DBFS else "clipped" if peak >= CLIPPED else "ok"
        print(f"clip {prompt.clip_id:2d}: {rms:6.1f} dBFS, peak {peak:.2f}, {state}: {prompt.text}")
        panels.append((f"clip {prompts[row].clip_id}: {prompt.text}", wave))

    lines = -(-len(panels) // COLUMNS)
    figure, axes = pyplot.subplots(lines, COLUMNS, figsize=(4.2 * COLUMNS, 1.9 * lines), constrained_layout=True)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, wave) in zip(axes.flat, panels, strict=False):
        mel = librosa.feature.melspectrogram(
            y=wave.mean(0), sr=model.sample_rate, n_fft=1024, hop_length=256, n_mels=96
        )
        axis.imshow(librosa.power_to_db(mel, ref=1.0), origin="lower", aspect="auto", vmin=-50, vmax=25, cmap="magma")
        axis.set_title(title[:58], fontsize=7)
    picture.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=60)
    Image.open(drawn).convert("RGB").quantize(96).save(picture, optimize=True)  # a third of the size
    print(f"drawn: {picture}")
