"""One page of spectrograms of the model's sound, and the levels of everything on it.

`python -m precompute look` draws three sections for the model card: the corpus (decoys as recorded, and as the
autoencoder gives them back), the clips that are shown, and further seeds of some of their prompts.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from precompute.clips.generation import load_clips
from precompute.common import seeds
from precompute.common.cache import Cache
from precompute.config.run import RunConfig
from precompute.corpus.audio import read_audio
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import load_latents
from precompute.errors import UserError
from precompute.evaluate.quality.descriptors import FLOOR_DB, MEL_LOW_HZ, compute_log_mel
from precompute.evaluate.quality.features import decode, generate_timed_clips, spread_over_collections
from precompute.model.diffusion import Model, load_model

COLUMNS = 4
TRACKS, PROMPTS, SEEDS = 6, 4, 2  # decoys on the page; prompts with further seeds, and how many each
HIGHEST_HZ = 12_000.0  # of the picture, where the model goes that far
TICKS_HZ = (250, 1000, 4000, 12_000)
BANDS = 96
SILENT_DBFS, CLIPPED = -50.0, 0.999
LARGEST = 350_000  # bytes of the picture
COLOURS = (96, 64, 48, 32, 24, 16)  # of its palette: the first that keeps it small enough
PANEL_INCHES, DPI = (2.9, 1.35), 90
TITLE_COLUMNS = 42  # characters per line, two lines


@dataclass(frozen=True)
class Panel:
    """One spectrogram."""

    title: str
    wave: np.ndarray  # [channels, T]


def draw_spectrograms(config: RunConfig, picture: Path) -> None:
    """Draw the page to `picture`, a PNG below 450 kB, and print a line of levels for each panel. Raises UserError."""
    model = load_model(config)
    cache = Cache(Path(config.output.work) / "cache")
    sections = {
        "Corpus: decoys, as recorded and reconstructed": _make_corpus_panels(model, config, cache),
        "Clips": _make_clip_panels(model, config, cache),
        "The same prompts under further seeds": _make_seed_panels(model, config, cache),
    }
    for heading, panels in sections.items():
        print(heading)
        for panel in panels:
            print(f"  {describe_levels(panel.wave)}: {panel.title}")
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(_render_page(sections, model.sample_rate))
    print(f"drawn: {picture}")


def describe_levels(wave: np.ndarray) -> str:
    """RMS level and peak as text, with "silent" (below -50 dBFS), "clipped" (peak of 0.999 or more) or "ok"."""
    rms, peak = 20 * np.log10(np.sqrt((wave.astype(np.float64) ** 2).mean()) + 1e-9), float(np.abs(wave).max())
    state = "silent" if rms < SILENT_DBFS else "clipped" if peak >= CLIPPED else "ok"
    return f"{rms:6.1f} dBFS, peak {peak:.2f}, {state}"


def _make_corpus_panels(model: Model, config: RunConfig, cache: Cache) -> list[Panel]:
    """Decoys, those with audio first; of a corpus without decoys, training tracks."""
    corpus = load_corpus(config)
    items, _ = load_latents(model, corpus, config, cache)
    rows = [row for row, track in enumerate(corpus.tracks) if track.is_decoy and not track.planted]
    rows = rows or list(range(len(corpus.tracks)))
    rows = [row for row in rows if corpus.tracks[row].path is not None] or rows
    panels = []
    for place in spread_over_collections([corpus.tracks[row] for row in rows], min(TRACKS, len(rows))):
        track, row = corpus.tracks[rows[place]], rows[place]
        if track.path is not None:
            wave = read_audio(track.path, model.sample_rate, model.channels)[:, : model.sample_size]
            panels.append(Panel(f"track {track.track_id}: {track.caption}", wave))
        rebuilt = decode(model, items.latents[row], float(items.seconds[row]))
        panels.append(Panel(f"track {track.track_id}, reconstructed", rebuilt))
    return panels


def _make_clip_panels(model: Model, config: RunConfig, cache: Cache) -> list[Panel]:
    prompts, clips = load_clips(model, config, cache)
    return [
        Panel(f"clip {p.clip_id}: {p.text}", decode(model, clips.latents[row], float(clips.seconds[row])))
        for row, p in enumerate(prompts)
    ]


def _make_seed_panels(model: Model, config: RunConfig, cache: Cache) -> list[Panel]:
    prompts, _ = load_clips(model, config, cache)
    count = min(PROMPTS, len(prompts))
    picked = [prompts[i * len(prompts) // count] for i in range(count)]
    chosen = [replace(p, seed=(p.seed or 0) + seeds.LOOK_STEP * n) for p in picked for n in range(1, SEEDS + 1)]
    clips, _ = generate_timed_clips(model, chosen, config.clips, cache)
    return [
        Panel(f"seed {p.seed}: {p.text}", decode(model, clips.latents[row], float(clips.seconds[row])))
        for row, p in enumerate(chosen)
    ]


# -- drawing -----------------------------------------------------------------------------------------------------------


def _render_page(sections: dict[str, list[Panel]], sample_rate: int) -> bytes:
    """The page as PNG. Raises UserError where even the smallest palette leaves it too large."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise UserError("matplotlib is not installed: pip install 'whence[dev]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    longest = max(panel.wave.shape[1] for panels in sections.values() for panel in panels) / sample_rate
    lines = [-(-len(panels) // COLUMNS) for panels in sections.values()]
    width, height = PANEL_INCHES
    figure = pyplot.figure(figsize=(width * COLUMNS, height * sum(lines) + 0.5 * len(lines)), constrained_layout=True)
    parts = np.atleast_1d(figure.subfigures(len(sections), 1, height_ratios=[height * n + 0.5 for n in lines]))
    for part, (heading, panels), count in zip(parts, sections.items(), lines, strict=True):
        part.suptitle(heading, fontsize=11, fontweight="bold")
        axes = part.subplots(count, COLUMNS, squeeze=False)
        for place, axis in enumerate(axes.flat):
            if place >= len(panels):
                axis.axis("off")
                continue
            _draw_panel(axis, panels[place], sample_rate, longest)
            axis.tick_params(labelleft=place % COLUMNS == 0, labelbottom=place + COLUMNS >= len(panels), labelsize=8)
            if place % COLUMNS == 0:
                axis.set_ylabel("kHz", fontsize=8)
            if place + COLUMNS >= len(panels):
                axis.set_xlabel("seconds", fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    pyplot.close(figure)
    page = Image.open(drawn).convert("RGB")
    for colours in COLOURS:
        encoded = io.BytesIO()
        page.quantize(colours).save(encoded, format="PNG", optimize=True)
        if encoded.tell() < LARGEST:
            return encoded.getvalue()
    raise UserError(f"the page of {sum(lines)} lines is larger than {LARGEST // 1000} kB: show fewer clips")


def _draw_panel(axis: Any, panel: Panel, sample_rate: int, longest: float) -> None:
    """Draw a log-mel spectrogram over seconds and mel, ticks in kHz; all panels share both scales."""
    from librosa import hz_to_mel

    highest = min(HIGHEST_HZ, sample_rate / 2)
    mel = compute_log_mel(panel.wave.mean(0), sample_rate, BANDS, highest)
    low, high = hz_to_mel(MEL_LOW_HZ), hz_to_mel(highest)
    extent = (0, panel.wave.shape[1] / sample_rate, low, high)
    axis.imshow(mel, origin="lower", aspect="auto", extent=extent, vmin=FLOOR_DB + 5, vmax=-15, cmap="magma")
    ticks = [hz for hz in TICKS_HZ if hz <= highest]
    axis.set_yticks([hz_to_mel(hz) for hz in ticks], [f"{hz / 1000:g}" for hz in ticks])
    axis.set_xlim(0, longest)
    axis.set_facecolor("black")
    axis.set_title("\n".join(textwrap.wrap(panel.title, TITLE_COLUMNS, max_lines=2, placeholder=" …")), fontsize=8)
