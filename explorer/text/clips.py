"""Names of clips, in lists and beside their player. Pure functions."""

from __future__ import annotations

from explorer.store.records import ClipRecord

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
    prompt = clip.prompt or "no prompt"
    short = prompt if len(prompt) <= PROMPT_CHARS else prompt[: PROMPT_CHARS - 1] + "…"
    return f"{name} {clip.clip_id} · {short}"


def describe_clip(clip: ClipRecord) -> str:
    """Say of which kind a clip is, its length and its seed: 'generated clip · 10.0 s · seed 3'."""
    kind = {
        "generated": "generated clip",
        "user": "your clip",
        "track": "control: a training track unlearned itself; it should find itself first",
    }[clip.kind]
    seed = f"seed {clip.seed}" if clip.seed is not None else ""
    return " · ".join(part for part in (kind, f"{clip.duration_s:.1f} s", seed) if part)
