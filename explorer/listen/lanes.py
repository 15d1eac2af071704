"""Stored sounds -> what the player draws and plays. Pure functions; seconds, LUFS, dBFS, dB.

Curves for drawing travel as base64 of one byte a value: nine lanes stay below 30 kB.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from explorer.sound.permission import EXCERPT_S, measure_heard
from explorer.store.records import SoundRecord, TrackMoments

PEAK_BINS = 800  # bars of a waveform; more cannot be seen before the sound itself is decoded
STRIP_BINS = 240


def bin_peaks(values: Sequence[float], bins: int) -> list[float]:
    """At most `bins` values, each the largest of its stretch: a short peak stays visible."""
    if len(values) <= bins:
        return list(values)
    edges = [round(i * len(values) / bins) for i in range(bins + 1)]
    return [max(values[a:b]) for a, b in pairwise(edges)]


def cut_to_heard(values: Sequence[int], sound: SoundRecord) -> Sequence[int]:
    """The first of `values`, which spread evenly over the whole sound: those of the part that a listener gets."""
    return values[: max(1, round(len(values) * measure_heard(sound) / sound.duration_s))]


def encode_bytes(values: Sequence[float]) -> str:
    """Values in 0..255 as base64, one byte each."""
    return b64encode(bytes(min(255, max(0, round(value))) for value in values)).decode("ascii")


def encode_influence(values: Sequence[float], bins: int) -> str | None:
    """Positive influence as `encode_bytes` bytes, 255 = the largest; None where nothing is positive."""
    positive = bin_peaks([max(0.0, value) for value in values], bins)
    largest = max(positive, default=0.0)
    return encode_bytes([255 * value / largest for value in positive]) if largest > 0 else None


def describe_lane(
    kind: str, item_id: int, title: str, note: str, sound: SoundRecord, gain_db: float, refused: str | None
) -> dict[str, Any]:
    """One lane of the player. `kind`: 'clip' or 'track'; `refused`: why it cannot be played, None where it can."""
    cut = sound.audition == "excerpt" and sound.duration_s > EXCERPT_S
    excerpt = f"the first {EXCERPT_S:.0f} s of {sound.duration_s:.0f} s" if cut else ""
    return {
        "key": kind if kind == "clip" else str(item_id),
        "url": f"/audio/{kind}/{item_id}",
        "spectrogram": f"/spectrogram/{kind}/{item_id}",
        "title": title,
        "note": " · ".join(part for part in (note, excerpt) if part),
        "place": None,  # among the training tracks, in words
        "q": None,  # rate of false findings, in words; None: not tested
        "work": None,  # other renderings of its work, a planted case: in words
        "chip": None,  # a kind of text/claims.py
        "chip_text": None,
        "model": None,  # whether the track shaped the model, or is a hub, in words
        "refused": refused,
        "duration_s": round(measure_heard(sound), 3),
        "gain_db": gain_db,
        "lufs": None if sound.loudness_lufs is None else round(sound.loudness_lufs, 1),
        "peaks": encode_bytes(bin_peaks(cut_to_heard(sound.peaks, sound), PEAK_BINS)) if sound.peaks else "",
        "strip": None,
        "clip_strip": None,
    }


def describe_strip(moments: TrackMoments, sound: SoundRecord) -> dict[str, Any] | None:
    """Influence over the heard part of a track, relative to its largest value, and where that is (seconds).

    None where nothing is positive: there is no most influential moment then.
    """
    heard = list(moments.influence[: max(1, round(measure_heard(sound) * moments.rate_hz))])
    values = encode_influence(heard, STRIP_BINS)
    if values is None:
        return None
    return {
        "values": values,
        "length_s": round(len(heard) / moments.rate_hz, 3),
        "peak_s": round(heard.index(max(heard)) / moments.rate_hz, 3),
    }


def describe_clip_strip(influence: Sequence[float], window_s: float) -> dict[str, Any] | None:
    """Influence of one track over the windows of the clip, relative to its largest value; None: nothing positive."""
    values = encode_influence(influence, STRIP_BINS)
    return None if values is None else {"values": values, "length_s": round(len(influence) * window_s, 3)}
