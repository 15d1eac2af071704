"""Models to be trained from the beginning, with another model's autoencoder and CLAP."""

from __future__ import annotations

import copy
from typing import Any

import torch

from precompute.config.run import fingerprint
from precompute.exemplars.low_rank import hash_tensors
from precompute.model.diffusion import Model, third_party


def make_fresh_model(like: Model, seed: int, config: dict[str, Any] | None = None) -> Model:
    """A model with freshly initialised transformer and conditioner, by a seed; autoencoder and CLAP of `like`.

    `config`: of another transformer or window, with the same autoencoder; None = that of `like`.
    """
    settings = copy.deepcopy(config or like.config)
    with torch.random.fork_rng():  # other seeds are not disturbed
        torch.manual_seed(seed)
        network: Any = third_party.create_network(settings)  # stable-audio-tools brings no types
    autoencoder: Any = like.network.pretransform
    network.pretransform.model.load_state_dict(autoencoder.model.state_dict())
    model = Model(network.to(like.device), settings, like.clap, sha256="", arithmetic=like.arithmetic)
    return update_hashes(model, like)


def make_trainable(model: Model) -> torch.nn.Module:
    """Let transformer and conditioner of a model be trained, not its autoencoder; returns its network."""
    model.network.model.requires_grad_(True)
    model.network.conditioner.requires_grad_(True)
    return model.network


def update_hashes(model: Model, like: Model) -> Model:
    """Set the model's hashes to those of its weights, so that no cache takes its results for another model's."""
    model.sha256 = hash_tensors(model.network.state_dict())
    model.inputs_sha256 = fingerprint(model.sha256, like.inputs_sha256)
    return model
