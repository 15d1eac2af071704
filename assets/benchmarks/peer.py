"""Runs one library on the rows of `bench_peers`, in that library's own environment: `peer.py NAME ROWS.npz OUT.npz`.

Prints a line of JSON: seconds for all products, and the process's peak memory. Each is used as its own examples do.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

Row = dict[str, torch.Tensor]
BATCH = 8  # rows of tracks that are computed together, where a library can


class PeerNetwork(nn.Module):
    """The embedded model's transformer, by rows that bring their own noise and condition."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network = model.network.model.requires_grad_(True)

    def forward(self, **row: torch.Tensor) -> torch.Tensor:
        """Predicted v [B, C, F] of rows [B, ...]."""
        condition = {name[2:]: value for name, value in row.items() if name.startswith("c-")}
        for name in condition:
            if name.endswith("mask"):
                condition[name] = condition[name].bool()
        return self.network(row["noised"], row["t"], use_checkpointing=False, **condition)

    def loss(self, row: Row) -> torch.Tensor:
        """Sum over rows of the mean squared error."""
        return (self(**row) - row["target"]).square().mean((1, 2)).sum()

    def list_linear_modules(self) -> list[str]:
        """Names of the transformer layers' Linear modules."""
        linear = [name for name, module in self.named_modules() if isinstance(module, nn.Linear)]
        return [name for name in linear if ".transformer.layers." in f".{name}"]

    def list_linear_parameters(self) -> dict[str, nn.Parameter]:
        """Their weights and biases by name."""
        names = tuple(f"{name}." for name in self.list_linear_modules())
        return {name: p for name, p in self.named_parameters() if name.startswith(names)}


class RowDataset(Dataset):
    """Rows without their batch dimension."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return {name: value[0] for name, value in self.rows[index].items()}


def load_rows(arrays: Any, dtype: torch.dtype = torch.float32) -> tuple[list[Row], list[Row]]:
    """Rows of tracks and of queries, each of batch size 1."""
    names = [name for name in arrays if name != "train"]
    tensors = {name: torch.from_numpy(np.asarray(arrays[name])).to(dtype) for name in names}
    rows = [{name: t[i : i + 1] for name, t in tensors.items()} for i in range(len(tensors["t"]))]
    train = int(arrays["train"])
    return rows[:train], rows[train:]


def whence(network: PeerNetwork, train: list[Row], queries: list[Row]) -> torch.Tensor:
    """A row's gradient at a time, and a product with those of all queries."""
    from precompute.gradients.directions import multiply_each

    parameters = list(network.list_linear_parameters().values())

    def gradient(row: Row) -> torch.Tensor:
        return torch.cat([part.flatten() for part in torch.autograd.grad(network.loss(row), parameters)])

    wanted = torch.stack([gradient(row) for row in queries])
    return torch.cat([multiply_each([gradient(row)[None]], wanted)[0] for row in train])


def dattri(network: PeerNetwork, train: list[Row], queries: list[Row]) -> torch.Tensor:
    """TracIn at one checkpoint without a projection: a product of gradients by vmap."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    names = list(train[0])

    def loss(parameters: dict[str, torch.Tensor], data: tuple[torch.Tensor, ...]) -> torch.Tensor:
        row = {name: value[None] for name, value in zip(names, data, strict=True)}
        predicted = torch.func.functional_call(network, parameters, (), row)
        return (predicted - row["target"]).square().mean()

    task = AttributionTask(loss_func=loss, model=network, checkpoints=network.state_dict())
    layers = list(network.list_linear_parameters())
    attributor = TracInAttributor(task, torch.ones(1), normalized_grad=False, layer_name=layers)
    attributor.projector_kwargs = None

    def loader(rows: list[Row], batch: int) -> DataLoader:
        data = torch.utils.data.TensorDataset(*(torch.cat([row[name] for row in rows]) for name in names))
        return DataLoader(data, batch_size=batch, shuffle=False)

    return attributor.attribute(loader(train, BATCH), loader(queries, len(queries)))


def dattri_llm(network: PeerNetwork, train: list[Row], queries: list[Row]) -> torch.Tensor:
    """TracIn on the fly, hooks on the Linear modules."""
    from dattri_llm import AttributionArguments, AttributionTask, HookManagerConfig, TracInAttributor

    task = AttributionTask(loss_func=lambda model, batch: model.loss(batch), model=network)
    hooks = HookManagerConfig(hook_types=dict.fromkeys(network.list_linear_modules(), "linear_io"))
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"per_device_train_batch_size": BATCH, "per_device_eval_batch_size": len(queries)}
        attributor = TracInAttributor(AttributionArguments(output_dir=folder, use_cpu=True, **sizes), task=task)
        score = attributor.attribute(RowDataset(train), RowDataset(queries), hook_config=hooks)
        return torch.as_tensor(score.agnostic_matrix()[1])


def kronfluence(network: PeerNetwork, train: list[Row], queries: list[Row]) -> torch.Tensor:
    """Pairwise scores with the identity in place of a curvature."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments
    from kronfluence.task import Task

    class Products(Task):
        def compute_train_loss(self, batch: Row, model: nn.Module, sample: bool = False) -> torch.Tensor:
            return (model(**batch) - batch["target"]).square().mean((1, 2)).sum()

        def compute_measurement(self, batch: Row, model: nn.Module) -> torch.Tensor:
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self) -> list[str]:
            return network.list_linear_modules()

    task = Products()
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_model(network, task)
        analyzer = Analyzer("peer", prepared, task, cpu=True, output_dir=folder, disable_tqdm=True)
        analyzer.fit_all_factors(
            "none", RowDataset(train), per_device_batch_size=BATCH, factor_args=FactorArguments("identity")
        )
        sizes = {"per_device_query_batch_size": len(queries), "per_device_train_batch_size": BATCH}
        analyzer.compute_pairwise_scores("scores", "none", RowDataset(queries), RowDataset(train), **sizes)
        return analyzer.load_pairwise_scores("scores")["all_modules"].T


def main() -> None:
    from precompute.common.torch_setup import setup_torch
    from precompute.cost.measurement import load_embedded_model, read_peak_mb

    setup_torch()
    name, rows, out = sys.argv[1:]
    torch.manual_seed(0)
    with np.load(rows) as archive:
        train, queries = load_rows({key: archive[key] for key in archive.files})
    network = PeerNetwork(load_embedded_model()).eval()
    network.loss(train[0]).backward()  # a warm-up
    network.zero_grad()
    began = time.perf_counter()
    scores = globals()[name.replace("-", "_")](network, train, queries)
    seconds = time.perf_counter() - began
    np.savez(out, scores=scores.detach().double().numpy())
    print(json.dumps({"seconds": seconds, "peak_mb": read_peak_mb()}))


if __name__ == "__main__":
    main()
