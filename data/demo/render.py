"""Notes -> MIDI -> fluidsynth -> mono 32 kHz audio -> MP3.

FluidR3 takes a second to load, so many tracks go through fluidsynth at once: each has a slot of `SLOT_S`
seconds in one MIDI file, long enough for its reverb to die away, and is cut out of the result. Times in
seconds, levels in dBFS / LUFS.
"""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile

RATE = 32_000  # Hz
SLOT_S = 12.0  # longest track 8 s + release + reverb
TICKS_S = 960  # MIDI ticks a second: 480 a quarter at 120 quarters a minute
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
TARGET_LUFS = -20.0
PEAK = 10 ** (-2.0 / 20)  # leaves the MP3 decoder 1 dB of overshoot below the promised -1 dBFS
MP3_LEVEL = 0.94  # libsndfile's compression level; at 32 kHz mono it gives 48 kbit/s
DRUMS = -1  # stands in `Piece.programs` for the drum channel


@dataclass(frozen=True)
class Note:
    """One sounding note."""

    start_s: float
    dur_s: float
    pitch: int
    velocity: int
    voice: int  # index into Piece.programs


@dataclass(frozen=True)
class Piece:
    """Notes for fluidsynth to play, and on which instruments."""

    programs: tuple[int, ...]  # General MIDI program numbers from 0, or DRUMS
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Take:
    """One track to render."""

    path: Path
    piece: Piece
    dur_s: float
    level_dbfs: float | None = None  # if given, the peak is set to this instead of the loudness


def _encode_length(value: int) -> bytes:
    """A MIDI variable-length quantity: seven bits a byte, the highest bit set on all but the last."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))


def encode_midi(pieces: list[Piece]) -> bytes:
    """A type-0 MIDI file with each piece in its own slot."""
    events: list[tuple[int, int, bytes]] = []  # tick, order within the tick, message
    for slot, piece in enumerate(pieces):
        base = round(slot * SLOT_S * TICKS_S)
        free = iter(c for c in range(16) if c != 9)
        channels = [9 if p == DRUMS else next(free) for p in piece.programs]
        for channel, program in zip(channels, piece.programs, strict=True):
            events.append((base, 0, bytes([0xB0 | channel, 121, 0])))
            events.append((base, 1, bytes([0xB0 | channel, 91, 45])))  # reverb send
            events.append((base, 2, bytes([0xC0 | channel, max(0, program)])))
            events.append((base + round((SLOT_S - 3) * TICKS_S), 5, bytes([0xB0 | channel, 120, 0])))
        for n in piece.notes:
            on = base + round(n.start_s * TICKS_S)
            off = max(on + 12, base + round(min(n.start_s + n.dur_s, SLOT_S - 3.2) * TICKS_S))
            events.append((on, 4, bytes([0x90 | channels[n.voice], n.pitch, max(1, min(127, n.velocity))])))
            events.append((off, 3, bytes([0x80 | channels[n.voice], n.pitch, 0])))
    events.append((round(len(pieces) * SLOT_S * TICKS_S), 6, b"\xff\x2f\x00"))
    body, now = b"", 0
    for tick, _, message in sorted(events):
        body += _encode_length(tick - now) + message
        now = tick
    return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, TICKS_S // 2, b"MTrk", len(body)) + body


def synthesise(pieces: list[Piece], work: Path) -> list[np.ndarray]:
    """Mono float arrays of one slot each; `work` holds the MIDI and WAV files (removed afterwards)."""
    midi, wav = work.with_suffix(".mid"), work.with_suffix(".wav")
    midi.write_bytes(encode_midi(pieces))
    options = {
        "synth.chorus.active": 0,
        "synth.reverb.active": 1,
        "synth.reverb.room-size": 0.35,
        "synth.reverb.damp": 0.4,
        "synth.reverb.level": 0.5,
        "synth.cpu-cores": 1,
        "synth.polyphony": 256,
        "synth.gain": 0.4,
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    command = ["fluidsynth", "-ni", "-q", "-r", str(RATE), "-O", "float", "-T", "wav", *flags]
    subprocess.run([*command, "-F", str(wav), str(SOUNDFONT), str(midi)], check=True, capture_output=True)
    audio, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    if rate != RATE:
        raise RuntimeError(f"fluidsynth wrote {rate} Hz instead of {RATE} Hz")
    mono = audio.mean(axis=1)
    slot = round(SLOT_S * RATE)
    mono = np.pad(mono, (0, max(0, slot * len(pieces) - len(mono))))
    midi.unlink()
    wav.unlink()
    return [mono[i * slot : (i + 1) * slot] for i in range(len(pieces))]


def limit_peaks(audio: np.ndarray, ceiling: float) -> np.ndarray:
    """Soft limiter: leaves samples under 70 % of the ceiling alone and bends the rest towards it."""
    knee = 0.7 * ceiling
    over = np.maximum(np.abs(audio) - knee, 0) / (ceiling - knee)
    return np.where(over > 0, np.sign(audio) * (knee + (ceiling - knee) * np.tanh(over)), audio)


def master(audio: np.ndarray, dur_s: float, level_dbfs: float | None) -> np.ndarray:
    """Cuts to `dur_s`, fades the end over 60 ms and sets the level."""
    out = audio[: round(dur_s * RATE)].astype(np.float64)
    fade = min(round(0.06 * RATE), len(out) // 4)
    out[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    if level_dbfs is not None:
        return out * 10 ** (level_dbfs / 20) / np.abs(out).max()
    meter = pyloudnorm.Meter(RATE)
    for _ in range(3):  # limiting costs loudness, so measure again
        out = limit_peaks(out * 10 ** ((TARGET_LUFS - meter.integrated_loudness(out)) / 20), PEAK)
    return out


def render_batch(takes: list[Take], work: Path) -> int:
    """Renders takes to MP3 files; returns how many."""
    for take, raw in zip(takes, synthesise([t.piece for t in takes], work), strict=True):
        audio = master(raw, take.dur_s, take.level_dbfs)
        take.path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            take.path,
            audio.astype(np.float32),
            RATE,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="CONSTANT",
            compression_level=MP3_LEVEL,
        )
    return len(takes)
