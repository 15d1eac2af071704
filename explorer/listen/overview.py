"""All clips of a store under one method, side by side. Pure functions; no gradio. Scores here are normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explorer.store.records import ClipRecord, Summary
from explorer.text.clips import name_clip, word_above_noise, word_top_share

NAME_CHARS = 300  # of a prompt
_KINDS = {"generated": "generated", "user": "your clip", "track": "control"}


def describe_clips(
    clips: Sequence[ClipRecord],
    summaries: Mapping[int, Summary],
    selected: int | None,
    heard: Mapping[int, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A card for each clip, controls apart, each in the order of `clips`.

    `heard`: by clip, the gain_db of its sound and why it cannot be played (None: it can).

    `scale`: the least and the largest score of all spark lines and 0, so that the lines compare. A clip without a
    summary was not scored by this method.
    """
    values = [value for summary in summaries.values() for value in summary.spark]
    cards = [_describe_card(clip, summaries.get(clip.clip_id)) | (heard or {}).get(clip.clip_id, {}) for clip in clips]
    return {
        "scale": [round(min([0.0, *values]), 3), round(max([0.0, *values]), 3)],
        "clips": [card for card, clip in zip(cards, clips, strict=True) if clip.kind != "track"],
        "controls": [card for card, clip in zip(cards, clips, strict=True) if clip.kind == "track"],
        "selected": selected,
    }


def _describe_card(clip: ClipRecord, summary: Summary | None) -> dict[str, Any]:
    """`above` and `share` sort (None: last); the texts are read."""
    details = [_KINDS[clip.kind], f"{clip.duration_s:.1f} s", *([f"seed {clip.seed}"] if clip.seed is not None else [])]
    details += [] if clip.run_id == 1 else ["tuned model"]
    scored = summary if summary is not None and summary.tracks else None
    share = None if scored is None else scored.shares_norm[1]
    return {
        "clip_id": clip.clip_id,
        "name": name_clip(clip)[:NAME_CHARS],
        "detail": " · ".join(details),
        "above": None if scored is None else scored.above_noise,
        "above_text": word_above_noise(scored),
        "share": share,
        # Without a track above noise, the concentration says nothing.
        "share_text": word_top_share(scored.tracks, share) if scored is not None and scored.above_noise else "",
        "spark": [] if scored is None else [float(f"{value:.3g}") for value in scored.spark],
    }
