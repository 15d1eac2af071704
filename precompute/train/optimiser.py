"""The optimiser of every demo model: Muon for matrices, AdamW for all else.

Muon (Jordan et al. 2024; torch.optim.Muon) turns the momentum of a matrix into the nearest orthogonal one before it
steps, so that rare directions are learnt as fast as frequent ones. On the demo's autoencoder, at equal CPU time (200 s
of one core), decoys came out at 6.3 dB SI-SDR in place of 4.8 with AdamW alone. A convolution's kernel
[out, in, width] counts as the matrix [out, in x width].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

MOMENTUM = 0.95


class MuonAndAdamW:
    """Both optimisers behind the few calls that the training loop needs; state goes to and from plain dictionaries."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        adamw_rate: float,
        muon_rate: float,
        decay: float,
        images: bool = False,
    ) -> None:
        """`muon_rate`: step of an orthogonal update (0: AdamW alone); `decay`: AdamW's weight decay.

        `images`: kernels of two-dimensional convolutions [out, in, height, width] count as matrices too.
        """
        parameters, ranks = list(parameters), (2, 3, 4) if images else (2, 3)
        chosen = [p for p in parameters if muon_rate > 0 and p.ndim in ranks and min(p.flatten(1).shape) > 1]
        others = {id(p) for p in parameters} - {id(p) for p in chosen}
        # a matrix that shares its numbers with the parameter: what is added to one is added to the other
        self._pairs = [(p, nn.Parameter(p.detach().view(p.shape[0], -1))) for p in chosen]
        self._adamw = torch.optim.AdamW(
            [p for p in parameters if id(p) in others], lr=adamw_rate, betas=(0.9, 0.99), weight_decay=decay
        )
        self._muon = None
        if self._pairs:
            matrices = [matrix for _, matrix in self._pairs]
            self._muon = torch.optim.Muon(matrices, lr=muon_rate, weight_decay=0.0, momentum=MOMENTUM)
        self._rates = adamw_rate, muon_rate
        self._parameters = parameters

    def step(self, factor: float) -> None:
        """One update; both rates times `factor`. Gradients are consumed."""
        for optimiser, rate in zip((self._adamw, self._muon), self._rates, strict=True):
            if optimiser is None:
                continue
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        for parameter, matrix in self._pairs:
            matrix.grad = None if parameter.grad is None else parameter.grad.view_as(matrix)
        self._adamw.step()
        if self._muon is not None:
            self._muon.step()

    def zero_grad(self) -> None:
        """Drop the gradients of all parameters."""
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """State of both optimisers, for `load_state_dict`."""
        muon = {} if self._muon is None else self._muon.state_dict()
        return {"adamw": self._adamw.state_dict(), "muon": muon}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state that `state_dict` gave."""
        self._adamw.load_state_dict(state["adamw"])
        if self._muon is not None:
            self._muon.load_state_dict(state["muon"])
