"""Sentences about hard cases: what each list holds, and why it is empty. Pure functions."""

from __future__ import annotations

from explorer.text.numbers import format_percent, format_signed

KINDS = {
    "disagree": "clips where methods disagree most",
    "hubs": "tracks high for many clips",
    "decoys": "decoys high up",
    "quiet": "near-silent tracks high up",
    "short": "very short tracks high up",
}


def word_disagreements(compared: int) -> str:
    """Why clips on which methods disagree are listed. `compared`: how many methods can be compared."""
    if compared <= 1:
        return "This store holds only one method that can be compared: there is nobody to disagree with."
    return (
        f"Clips by how little the {compared} methods agree on the order of training tracks, least first (random and "
        "ensembles left out). Where they disagree, at least one of them is wrong."
    )


def word_hubs(first: int, clips: int, tracks: int) -> str:
    """Why hubs are listed, and how many chance alone would make of `clips` clips and `tracks` tracks."""
    return (
        f"Tracks among the first {first} of more than one clip. A track that is high whatever the clip may say "
        f"more of itself than of the clips.{word_hub_chance(first, clips, tracks)}"
    )


def word_hub_chance(first: int, clips: int, tracks: int) -> str:
    """The number of hubs that chance alone would make; empty where that is not defined."""
    if not tracks or clips < 2:
        return ""
    p = min(1.0, first / tracks)
    once = (1 - p) ** clips + clips * p * (1 - p) ** (clips - 1)
    return f" By chance {tracks * (1 - once):.2g} of {tracks:,} tracks would be here."


def word_decoys(first: int) -> str:
    """Why decoys high up are listed."""
    return f"Decoys among the first {first}: the model never heard them, so each is a mistake of this size."


def word_quiet(first: int, below_lufs: float) -> str:
    """Why near-silent tracks are listed."""
    return (
        f"Tracks quieter than {format_signed(below_lufs, 0)} LUFS, or with no loudness to measure, among "
        f"the first {first}: there is hardly anything in them to learn."
    )


def word_short(first: int, part: float, usual_s: float) -> str:
    """Why very short tracks are listed: shorter than `part` of the usual length."""
    return (
        f"Tracks shorter than {format_percent(part)} of the usual length ({usual_s:.1f} s) among the first "
        f"{first}: few seconds make a noisy score."
    )


def word_empty_list(kind: str, text: str, compared: int) -> str:
    """Why a list is empty. `text`: the filter; `compared`: how many methods can be compared."""
    if text.strip():
        return f"No row holds “{text.strip()}”."
    return {
        "disagree": f"At least two methods beside random and ensembles must have scored a clip; here {compared} did.",
        "hubs": "No track is that high for two clips.",
        "decoys": "No decoy is that high, or none was scored.",
        "quiet": "No near-silent track is that high.",
        "short": "No very short track is that high.",
    }[kind]
