"""Products by oneDNN: as exact as MKL's, in any layout, through every kind of derivative, and only where they fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from precompute.common import matmul

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def made(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Size]]:
    """The overrides, installed whatever the processor, and what goes through them; taken back afterwards."""
    kept, seen, product = list(matmul._installed), [], matmul.multiply
    for library in kept:
        library._destroy()
    matmul._installed.clear()

    def watched(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(a.shape)
        return product(a, b, bias)

    monkeypatch.setattr(matmul, "is_faster_here", lambda: True)
    monkeypatch.setattr(matmul, "multiply", watched)
    assert matmul.install() and matmul.install() and len(matmul._installed) == 1
    yield seen
    matmul._installed.pop()._destroy()
    if kept:
        monkeypatch.undo()
        matmul.install()


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_any_order_in_memory(first: bool, second: bool) -> None:
    a = made(40, 70).T.contiguous().T if first else made(40, 70)
    b = made(70, 50, seed=1).T.contiguous().T if second else made(70, 50, seed=1)
    bias, wanted = made(50, seed=2), a.double() @ b.double()
    torch.testing.assert_close(matmul.multiply(a, b).double(), wanted, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(matmul.multiply(a, b, bias).double(), wanted + bias, rtol=1e-5, atol=1e-4)


def test_what_fits() -> None:
    a, b = made(64, 64), made(64, 64)
    assert matmul.is_eligible(a, b) and matmul.is_eligible(a.T, b.T)
    assert (
        not matmul.is_eligible(a[:8], b)
        and not matmul.is_eligible(a.double(), b.double())
        and not matmul.is_eligible(a.bfloat16(), b)
    )
    assert not matmul.is_eligible(a, torch.zeros(1).expand(64, 64))  # oneDNN would take a second for it
    assert not matmul.is_eligible(torch.empty(64, 20_000), torch.empty(20_000, 64))


@pytest.mark.parametrize(
    ("vendor", "capability", "wanted"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
def test_which_processors(tmp_path: Path, monkeypatch, vendor: str, capability: str, wanted: bool) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    assert matmul.is_faster_here(path) is wanted
    assert matmul.is_faster_here(tmp_path / "none") is False


def test_derivatives_of_both_kinds_go_through_it(counted: list[torch.Size]) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(48, 80), torch.nn.GELU(), torch.nn.Linear(80, 40, bias=False))
    x, twin = made(64, 48), layers.to(torch.float64)
    weights = {name: p.detach().clone() for name, p in twin.named_parameters()}
    steps = {name: made(*p.shape, seed=3).double() for name, p in weights.items()}

    def loss(given: dict[str, torch.Tensor], heard: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(twin, given, (heard,)).square().mean()

    wanted = torch.func.grad(loss)(weights, x.double())
    _, rise = torch.func.jvp(lambda given: loss(given, x.double()), (weights,), (steps,))
    assert not counted  # float64 is left alone
    low = {name: p.float() for name, p in weights.items()}
    found = torch.func.grad(loss)(low, x)
    backward = len(counted)
    assert backward == 5  # forward 2, weights 2, and the hidden layer's
    for name, gradient in found.items():
        torch.testing.assert_close(gradient.double(), wanted[name], rtol=1e-4, atol=1e-6)
    _, low_rise = torch.func.jvp(lambda g: loss(g, x), (low,), ({n: s.float() for n, s in steps.items()},))
    assert len(counted) > backward
    assert float(low_rise) == pytest.approx(float(rise), rel=1e-4)


def test_the_same_bits_each_time(counted: list[torch.Size]) -> None:
    a, b = made(200, 300), made(300, 100, seed=1)
    assert torch.equal(a @ b, a @ b) and torch.equal(a @ b, (a @ b).clone())
    assert counted
    assert torch.equal(a[:8] @ b, torch.bmm(a[None, :8], b[None])[0])  # too small: as before
