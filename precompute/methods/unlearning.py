"""Attribution by unlearning (arXiv 2506.18312): the mathematics of the step is in `gradients/steps.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from precompute.common.cache import Arrays
from precompute.config.run import RunConfig, UnlearningSection
from precompute.gradients.context import Context
from precompute.gradients.steps import UnlearningStep
from precompute.gradients.taps import Tap, make_step_tap
from precompute.methods.base import GradientMethod, MethodResult


class Unlearning(GradientMethod):
    """Fisher-preconditioned steps that unlearn the clip; whose loss rises?"""

    name = "unlearning"
    label = "Unlearning"
    description = (
        "Unlearn the clip by one small step of the model's weights; a track scores by how much its loss rises."
    )
    cost = "draws of the clips, and one gradient a track and draw, shared by all gradient methods"
    has_moments = True
    objective = "loss"  # what is differentiated, one of `item_gradients.OBJECTIVES`

    def __init__(self, section: UnlearningSection, tracks: int) -> None:
        """`tracks`: the number of training tracks."""
        super().__init__(section)
        self.step = UnlearningStep(section, tracks, self.objective)
        self.has_moments = self.step.has_moments

    @classmethod
    def create(cls, settings: None, config: RunConfig, tracks: int) -> Unlearning:
        """Make it with the settings of section [unlearning]."""
        return cls(config.unlearning, tracks)

    def describe_settings(self) -> dict[str, Any]:
        """The section, and the scale of a step."""
        return self.step.describe_settings()

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """Products with every clip's direction."""
        return {"steps": make_step_tap(context, self.step)}

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Arrange the products, which are the scores."""
        scores = self.step.arrange_scores(recorded["steps"], context.model, context.queries, context.bank)
        return MethodResult(scores.cells, scores.cohort, scores.windows)

    def compute_moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        """Differentiate in forward mode along the clip's direction."""
        direction = self.step.share_directions(context).average_halves(clip)
        return self.step.compute_moments(context.model, context.items[[track]], direction, context.bank).numpy()


class UnlearningOutput(Unlearning):
    """Unlearning with D-TRAK's output function (arXiv 2311.00500): the squared output is differentiated, not the loss.

    The model made the clip itself, so that the residual of its loss has mean zero and the loss's gradient is mostly the
    draw's noise; the output's gradient has no such factor.
    """

    name = "unlearning-output"
    label = "Unlearning, by output"
    description = "Unlearning with the gradient of the model's output in place of that of its loss."
    cost = "one further gradient a track and draw, and of the clips"
    objective = "square"
