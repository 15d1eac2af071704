"""Names of clips in lists and beside their player, and the words on their cards. Pure functions."""

from __future__ import annotations

from explorer.store.records import ClipRecord, Summary
from explorer.text.numbers import format_count, format_percent

SHARE_TRACKS = 10  # tracks; the second of Summary's shares
PROMPT_CHARS = 90  # of a prompt in a list of choices


def name_clip(clip: ClipRecord) -> str:
    """The prompt; of a control, the track that was unlearned."""
    if clip.kind == "track":
        return f"Control: {clip.target_title}"
    return clip.prompt or "no prompt"


def label_clip(clip: ClipRecord) -> str:
    """The clip in the list of clips."""
    if clip.kind == "track":
        return f"Control {clip.clip_id} · {clip.target_title}"
    name = "Generated clip" if clip.kind == "generated" else "Your clip"
    name = name if clip.run_id == 1 else f"{name}, tuned model,"
    prompt = clip.prompt or "no prompt"
    short = prompt if len(prompt) <= PROMPT_CHARS else prompt[: PROMPT_CHARS - 1] + "…"
    return f"{name} {clip.clip_id} · {short}"


def describe_clip(clip: ClipRecord) -> str:
    """Say of which kind a clip is, its length, its seed, its model: 'generated clip · 10.0 s · seed 3'."""
    kind = {
        "generated": "generated clip",
        "user": "your clip",
        "track": "control: a training track unlearned itself; it should find itself first",
    }[clip.kind]
    seed = f"seed {clip.seed}" if clip.seed is not None else ""
    model = "" if clip.run_id == 1 else "from a tuned model"
    return " · ".join(part for part in (kind, f"{clip.duration_s:.1f} s", seed, model) if part)


def word_model(clip: ClipRecord) -> str:
    """Say what sets the clip's model apart from that of most clips; '' for a clip of that one."""
    if clip.run_id == 1:
        return ""
    note = (clip.model_note or "").rstrip(".")
    if not note:
        return "This clip comes from a tuned model."
    return (
        f"This clip comes from a model {note}."
        if note.startswith("tuned")
        else f"This clip comes from a tuned model: {note}."
    )


def word_above_noise(summary: Summary | None) -> str:
    """'5 of 24 candidates above noise'."""
    if summary is None:
        return "not scored by this method"
    if summary.above_noise:
        return f"{summary.above_noise:,} of {format_count(summary.candidates, 'candidate')} above noise"
    if not summary.decoys or not summary.candidates:
        return "nothing tested"
    return "nothing above noise" if summary.can_tell else "cannot tell: too few decoys"


def word_top_share(tracks: int, share: float | None) -> str:
    """'top 10 hold 29 %': of the positive score."""
    if share is None:
        return "no positive score"
    if tracks == 1:
        return "the only track holds all"
    return f"top {min(SHARE_TRACKS, tracks)} hold {format_percent(share)}"
