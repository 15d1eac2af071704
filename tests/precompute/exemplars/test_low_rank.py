"""Low-rank updates: merged they are W + scale B A, and they come and go without a trace."""

from __future__ import annotations

import pytest
import torch

from precompute.config.run import RunConfig
from precompute.exemplars.low_rank import apply_update
from precompute.model.diffusion import Items, Model, NoiseBank, load_model
from precompute.train.lora import freeze_matrices
from support.tuned import copy_bits, make_random_update

DECOY = 16  # row of a decoy among the fixture's tracks


@pytest.fixture
def twin(config: RunConfig) -> Model:
    """A model of this test's own."""
    return load_model(config)


def test_merged_weights_are_w_plus_ba_and_leave_no_trace(twin: Model, items: Items) -> None:
    weights = freeze_matrices(twin)
    assert weights and all(w.ndim == 2 for w in weights.values())
    update, before, hashes = make_random_update(weights, 3), copy_bits(twin), (twin.sha256, twin.inputs_sha256)
    t, eps = NoiseBank(1, 1, 4, seed=1).cell(0, 0, (twin.latent_channels, twin.frames))
    condition = twin.condition(items[[DECOY]])
    explicit = {n: w + 0.5 * update.b[n].float() @ update.a[n].float() for n, w in weights.items()}
    wanted = twin.frame_loss(items.latents[DECOY], condition, t, eps, weights=explicit)
    plain = twin.frame_loss(items.latents[DECOY], condition, t, eps)
    with apply_update(twin, update):
        assert torch.allclose(twin.frame_loss(items.latents[DECOY], condition, t, eps), wanted, rtol=1e-5, atol=1e-6)
        assert {twin.sha256, twin.inputs_sha256}.isdisjoint(hashes) and len(twin.sha256) == 64
    assert not torch.allclose(wanted, plain)
    assert all(torch.equal(value, before[name]) for name, value in copy_bits(twin).items())
    assert (twin.sha256, twin.inputs_sha256) == hashes


def test_the_bits_come_back_after_an_error(twin: Model) -> None:
    before, update = copy_bits(twin), make_random_update(freeze_matrices(twin), 2)
    with pytest.raises(RuntimeError, match="inside"), apply_update(twin, update):
        raise RuntimeError("inside")
    assert all(torch.equal(value, before[name]) for name, value in copy_bits(twin).items())
