"""A user's own sounds as clips. Finding and checking them needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from precompute.clips.prompts import Prompt
from precompute.common.files import hash_file
from precompute.corpus.audio import SUFFIXES, AudioError, convert, read_span, scan
from precompute.corpus.windows import SLACK, format_clock
from precompute.errors import UserError

if TYPE_CHECKING:
    import torch

    from precompute.model.diffusion import Model


@dataclass(frozen=True)
class OwnClip:
    """A sound of the user's."""

    path: Path
    seconds: float  # of the whole file


def find_own_clips(audio: str) -> tuple[list[OwnClip], dict[str, str]]:
    """The readable sounds of [clips] audio by name, and {path: reason} of those set aside. Raises UserError."""
    if not audio:
        return [], {}
    place = Path(audio)
    if place.is_dir():
        paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    elif place.is_file():
        paths = [place]
    else:
        raise UserError(f"{place}: not found; [clips] audio must name a file or a folder of sounds")
    readable, reasons = [], {}
    for path in paths:
        try:
            readable.append(OwnClip(path, scan(path).seconds))
        except AudioError as error:
            reasons[str(path)] = str(error)
    if not readable:
        raise UserError(f"{place}: no readable sound in it ({', '.join(sorted(SUFFIXES))})")
    return readable, reasons


def read_own_clips(model: Model, audio: str, first_id: int) -> list[Prompt]:
    """The sounds of [clips] audio as clips, numbered from `first_id`: each from its beginning, one window of the model.

    Scored under the CLAP embedding of its sound where the model takes one, else under the empty prompt. Prints what is
    set aside or shortened. Raises UserError.
    """
    longest_s = model.frames * model.ratio / model.sample_rate
    readable, reasons = find_own_clips(audio)
    for name, reason in reasons.items():
        print(f"  set aside: {name}: {reason}", flush=True)
    prompts = []
    for number, clip in enumerate(readable):
        seconds = min(clip.seconds, longest_s)
        span = f" (0:00–{format_clock(seconds)})" if clip.seconds > SLACK * longest_s else ""
        if span:
            print(f"  {clip.path}: its first {seconds:.1f} s of {clip.seconds:.1f} are used", flush=True)
        prompts.append(
            Prompt(
                clip_id=first_id + number,
                text="",
                seconds=seconds,
                seed=None,
                path=clip.path,
                title=clip.path.name + span,
                conditioning="clap_audio" if model.is_clap_conditioned else "empty",
                digest=hash_file(clip.path),
            )
        )
    return prompts


def encode_own_clips(model: Model, prompts: Sequence[Prompt]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Latents [Q, C, F] of sounds and, where the model is CLAP-conditioned, their CLAP embeddings [Q, E]."""
    import torch

    latents, mono = [], []
    for prompt in prompts:
        if prompt.path is None:
            raise ValueError(f"clip {prompt.clip_id} is no sound")
        wave, rate = read_span(prompt.path, 0.0, prompt.seconds)
        latents.append(model.encode(convert(wave, rate, model.sample_rate, model.channels)))
        if model.is_clap_conditioned:
            mono.append(convert(wave, rate, model.require_clap().sample_rate, 1)[0])
    return torch.stack(latents), model.require_clap().audio(mono) if mono else None
