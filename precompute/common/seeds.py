"""Every seed that no config sets, in one place, so that ranges that must not meet can be seen side by side.

Clips are generated from starting noise of a seed of their own. Prompts name theirs (small numbers); all other clips
count up from a base:
"""

from __future__ import annotations

COHORT = 1_000_000  # clips of the normalisation cohort
QUALITY = 2_000_000  # clips of `evaluate quality`: plus the decoy's track_id
PLANTED = 2_000_000  # clips of `evaluate planted`
PLANTED_EXEMPLARS = 2_500_000  # its clips of models with an exemplar
AGREEMENT = 3_000_000  # clips of `evaluate agreement`
EXEMPLAR_CHECK = 3_000_000  # clips that check a trained exemplar
FIDELITY = 4_000_000  # clips of `evaluate self-influence`: plus the track's row
LOOK_STEP = 1000  # between the seeds under which `evaluate look` generates one prompt

# Other draws.
CODEC = 0  # disturbed latents in `evaluate quality`
EXEMPLAR_BANK = 3_000_000  # (t, noise) draws that an exemplar is trained under
ASPECTS = 404  # random pairs that say what resemblance is usual


def derive_seed(seed: int, number: int) -> int:
    """The seed of draw, step or cell `number` under a run's `seed`; runs meet only at numbers above a million."""
    return seed * 1_000_003 + number
