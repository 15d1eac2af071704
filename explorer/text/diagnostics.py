"""Sentences about what lies behind scores: the run, its findings, length of tracks, parts over the noise level."""

from __future__ import annotations

import math
from collections.abc import Sequence

from explorer.store.records import Diagnostic, RunRecord, ScorePart
from explorer.text.numbers import format_signed

PARTS_NOT_STORED = "This run kept no parts of scores."
PARTS_NOT_STORED_HERE = "Parts are kept for the 100 best-ranked tracks of a clip, and this track is not among them."


def word_length(drawn: int, tracks: int, correlation: float) -> str:
    """The number of drawn training tracks, and the correlation of score and length (NaN: not defined)."""
    first = f"{drawn:,} of {tracks:,} training tracks are drawn. " if tracks > drawn else ""
    if math.isnan(correlation):
        return first + "Too few tracks, or all of one length: no correlation."
    value = format_signed(correlation, 2)
    return f"{first}Rank correlation of score and length for this clip: {value} (0: length does not matter)."


def word_parts(parts: Sequence[ScorePart]) -> str:
    """Explain the parts of a score over the noise level t, and name those that add most."""
    sentence = "The score is the mean of these parts."
    largest = max(parts, key=lambda part: part.score)
    if sum(part.score for part in parts) > 0 and largest.score > 0:
        sentence += (
            f" Noise levels t from {largest.t_low:.2g} to {largest.t_high:.2g} add most to it "
            "(0: hardly any noise, 1: noise alone)."
        )
    return sentence


def word_findings(diagnostics: Sequence[Diagnostic]) -> list[str]:
    """A line a finding: its meaning and value, several values along training where the run has several checkpoints."""
    lines = {one.name: f"{one.meaning}: " for one in diagnostics}
    several = len({one.checkpoint_step for one in diagnostics}) > 1
    for one in diagnostics:
        step = f" (step {one.checkpoint_step:,})" if several else ""
        joint = "" if lines[one.name].endswith(": ") else " → "
        lines[one.name] += f"{joint}{one.value:.3g}{step}"
    return list(lines.values())


def word_run(run: RunRecord) -> str:
    """When, on what, with which weights and code a store was made."""
    made = f"Made on {run.started_at:%Y-%m-%d} (UTC), {run.device}; weights {run.model_sha256[:12]}"
    return made + (f", code {run.commit_hash[:12]}." if run.commit_hash else ".")
