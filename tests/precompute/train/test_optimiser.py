"""Muon and AdamW together: who updates what, the shape of an update, state that goes on."""

from __future__ import annotations

import copy

import torch
from torch import nn

from precompute.train.optimiser import MuonAndAdamW


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 8, 5), nn.ELU(), nn.Flatten(), nn.Linear(8 * 6, 4))


def gradients(model: nn.Module, seed: int) -> None:
    x = torch.randn(16, 3, 10, generator=torch.Generator().manual_seed(seed))
    model(x).square().mean().backward()


def stepped(model: nn.Module, optimiser: MuonAndAdamW, seeds: range) -> dict[str, torch.Tensor]:
    for seed in seeds:
        optimiser.zero_grad()
        gradients(model, seed)
        optimiser.step(0.5)
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_an_update_of_a_matrix_is_near_orthogonal_and_a_kernel_counts_as_one():
    model = network()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    after = stepped(model, MuonAndAdamW(model.parameters(), 1e-3, 0.02, 0.0), range(1))
    for name in ("0.weight", "3.weight"):
        moved = (after[name] - before[name]).flatten(1)
        values = torch.linalg.svdvals(moved.double()) / (0.5 * 0.02)
        assert values.min() > 0.4 and values.max() < 1.4, (name, values)
        gradient = dict(model.named_parameters())[name].grad.flatten(1)
        left, _, right = torch.linalg.svd(gradient, full_matrices=False)
        cosine = -(moved * (left @ right)).sum() / moved.norm() / (left @ right).norm()
        assert cosine > 0.95, name


def test_vectors_go_to_adamw():
    model, twin = network(), network()
    moved = stepped(model, MuonAndAdamW(model.parameters(), 1e-3, 0.02, 0.0), range(1))
    plain = torch.optim.AdamW(twin.parameters(), lr=0.5e-3, betas=(0.9, 0.99), weight_decay=0.0)
    gradients(twin, 0)
    plain.step()
    for name, value in twin.named_parameters():
        assert torch.allclose(moved[name], value, atol=1e-7) == name.endswith("bias"), name


def test_without_a_rate_all_is_adamw():
    model, twin = network(), network()
    moved = stepped(model, MuonAndAdamW(model.parameters(), 1e-3, 0.0, 0.1), range(3))
    plain = torch.optim.AdamW(twin.parameters(), lr=0.5e-3, betas=(0.9, 0.99), weight_decay=0.1)
    for seed in range(3):
        plain.zero_grad()
        gradients(twin, seed)
        plain.step()
    for name, value in twin.named_parameters():
        assert torch.equal(moved[name], value), name


def test_state_goes_on():
    straight, first = network(), network()
    wanted = stepped(straight, MuonAndAdamW(straight.parameters(), 1e-3, 0.02, 0.0), range(4))
    optimiser = MuonAndAdamW(first.parameters(), 1e-3, 0.02, 0.0)
    stepped(first, optimiser, range(2))
    state = copy.deepcopy(optimiser.state_dict())
    again = MuonAndAdamW(first.parameters(), 1e-3, 0.02, 0.0)
    again.load_state_dict(state)
    found = stepped(first, again, range(2, 4))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
