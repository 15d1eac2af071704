"""Ten files as a user may bring them: eight formats, two broken."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile

from support import tiny


def wave_of(seconds: float, rate: int, seed: int, channels: int = 1) -> np.ndarray:
    """[T, channels] float32: a melody of eighth notes."""
    time = np.arange(int(seconds * rate)) / rate
    rng = np.random.default_rng(seed)
    notes = 220 * 2 ** (rng.integers(0, 24, int(seconds * 4) + 1) / 12)
    wave = 0.3 * np.exp(-4 * (time % 0.25)) * np.sin(2 * np.pi * notes[(time * 4).astype(int)] * time)
    return np.stack([wave * (1 - 0.2 * c) for c in range(channels)], 1).astype(np.float32)


def write_m4a(path: Path, wave: np.ndarray, rate: int, **metadata: str) -> None:
    """AAC in MP4, [T, channels]."""
    import av

    with av.open(str(path), "w", format="ipod") as container:
        container.metadata.update(metadata)
        stream = container.add_stream("aac", rate=rate, layout="stereo" if wave.shape[1] == 2 else "mono")
        for start in range(0, len(wave), 1024):
            block = np.ascontiguousarray(wave[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def id3(frames: dict[str, str]) -> bytes:
    """An ID3v2.4 tag of text frames, to stand before an MP3."""
    body = b""
    for name, text in frames.items():
        data = b"\x03" + text.encode()
        if name.startswith("TXXX:"):
            data = b"\x03" + name[5:].encode() + b"\x00" + text.encode()
        body += name[:4].encode() + _syncsafe(len(data)) + b"\x00\x00" + data
    return b"ID3\x04\x00\x00" + _syncsafe(len(body)) + body


def _syncsafe(size: int) -> bytes:
    return struct.pack("4B", *(size >> shift & 0x7F for shift in (21, 14, 7, 0)))


def write_ten(folder: Path) -> None:
    """mp3, m4a, 8-bit wav, 96 kHz stereo flac, ogg, very short, very long, tagged; cut short, and not sound."""
    folder.mkdir(parents=True)
    soundfile.write(folder / "01_plain.mp3", wave_of(1.7, 22_050, 1), 22_050)
    write_m4a(folder / "02_apple.m4a", wave_of(1.6, 44_100, 2, channels=2), 44_100)
    soundfile.write(folder / "03_eight_bit.wav", wave_of(1.5, 11_025, 3), 11_025, subtype="PCM_U8")
    soundfile.write(folder / "04_high_rate.flac", wave_of(1.4, 96_000, 4, channels=2), 96_000, subtype="PCM_24")
    soundfile.write(folder / "05_vorbis.ogg", wave_of(1.3, 44_100, 5), 44_100)
    soundfile.write(folder / "06_very_short.wav", wave_of(0.02, tiny.RATE, 6), tiny.RATE)
    soundfile.write(folder / "07_very_long.wav", wave_of(61.0, tiny.RATE, 7), tiny.RATE)
    tags = {
        "TIT2": "Morning ${alert(1)}",
        "TCOM": "Ada Composer; Ben Writer",
        "TPE1": "The Players",
        "TPUB": "Small Label",
        "TCOP": "2024 Small Label",
        "TSRC": "DE-A12-34-56789",
        "TXXX:ISWC": "T-034.524.680-1",
    }
    soundfile.write(folder / "08_tagged.mp3", wave_of(1.2, 22_050, 8), 22_050)
    plain = (folder / "08_tagged.mp3").read_bytes()
    (folder / "08_tagged.mp3").write_bytes(id3(tags) + plain[_tag_bytes(plain) :])
    (folder / "09_cut.flac").write_bytes((folder / "04_high_rate.flac").read_bytes()[:60])
    (folder / "10_text.m4a").write_text("not a sound at all")


def _tag_bytes(data: bytes) -> int:
    """Length of the ID3v2 tag that a file begins with; 0 without."""
    if data[:3] != b"ID3":
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
