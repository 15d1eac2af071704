"""Seeds that no config sets, in one place, so that ranges that must not meet can be seen side by side.

Clips are generated from starting noise of a seed of their own. Prompts name theirs (small numbers); all other clips
count up from a base. Where two ranges meet (QUALITY and PLANTED; AGREEMENT and EXEMPLAR_CHECK), clips of two verbs may
begin from equal noise: each verb compares only its own clips, and a cache names a clip by text, length and seed.
EXEMPLAR_BANK equals two of them, but seeds draws of another kind. Not here: seeds that a config or an option sets, and
the defaults (0) of bootstraps in `evaluate/`.
"""

from __future__ import annotations

COHORT = 1_000_000  # clips of the normalisation cohort
QUALITY = 2_000_000  # clips of `evaluate quality`: plus the decoy's track_id
PLANTED = 2_000_000  # clips of `evaluate planted`
PLANTED_EXEMPLARS = 2_500_000  # its clips of models with an exemplar
AGREEMENT = 3_000_000  # clips of `evaluate agreement`
EXEMPLAR_CHECK = 3_000_000  # clips that check a trained exemplar
FIDELITY = 4_000_000  # clips of `evaluate self-influence`: plus the track's row
EXEMPLAR_CLIPS = 5_000_000  # shown clips of the model tuned on exemplars
RETRAINING_CLIPS = 6_000_000  # clips of the bench of retraining
LOOK_STEP = 1000  # between the seeds under which the verb `look` generates one prompt

# Other draws.
CODEC = 0  # disturbed latents in `evaluate quality`
EXEMPLAR_BANK = 3_000_000  # (t, noise) draws that an exemplar is trained under
ASPECTS = 404  # random pairs that say what resemblance is usual
DEMO_BANK = 77  # (t, noise) draws of the losses that `train-demo` writes down
MEASUREMENT = 0  # latents that `plan --measure` times
MEASUREMENT_BANK = 7  # (t, noise) draws under which it times them
CLEWS_CHANCE = 0  # shufflings that say what mean average precision chance gives


def derive_seed(seed: int, number: int) -> int:
    """The seed of draw, step or cell `number` under a run's `seed`; runs meet only at numbers above a million."""
    return seed * 1_000_003 + number
