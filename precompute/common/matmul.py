"""Matrix products in float32 on the CPU by oneDNN, where MKL would leave half of the processor unused.

torch multiplies float32 matrices by MKL, which takes AVX2 on processors of other makers than Intel; oneDNN, which torch
brings for convolutions, takes AVX-512 there: 230 instead of 105 GFLOP/s on one core of an AMD EPYC (Zen 5). `install`
hands it the products that are large enough, whoever asks for them: forward, backward and forward-mode derivatives, for
all of these end in `mm` or `addmm`. It is float32 either way; sums are added in another order, as between processors.
Which products go there depends on the processor and on shapes alone, so that a run can be repeated bit by bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LEAST, MOST = 32, 16_384  # sizes; below, a call costs more than it saves; above, long sums stay with MKL
_installed: list[Any] = []  # the library of overrides lives as long as this process


def suits(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether oneDNN is at hand, and knows this processor better than MKL does. Linux alone."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.startswith("vendor_id") and "GenuineIntel" not in line for line in lines)


def is_installed() -> bool:
    return bool(_installed)


def install() -> bool:
    """From now on, in this process, where it suits and once; whether it is so."""
    if not _installed and suits() and hasattr(torch.library, "get_kernel"):
        _installed.append(_overridden())
    return bool(_installed)


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """[m, k] x [k, n] (+ [n]) -> [m, n] by oneDNN, which takes the second matrix transposed, in any order in memory."""
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")


def fits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether a product goes to oneDNN. Expanded matrices do not: it has a slow way alone for those."""
    if a.dtype != torch.float32 or b.dtype != torch.float32:
        return False
    sizes = (*a.shape, b.shape[1])
    return min(sizes) >= LEAST and max(sizes) <= MOST and 0 not in a.stride() and 0 not in b.stride()


def _overridden() -> Any:
    usual = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm")}

    def mm(keys: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return product(a, b) if fits(a, b) else usual["mm"].call_boxed(keys, a, b)

    def addmm(
        keys: Any, bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1
    ) -> torch.Tensor:
        plain = beta == 1 and alpha == 1 and bias.shape == b.shape[1:] and bias.dtype == torch.float32
        if plain and 0 not in bias.stride() and fits(a, b):
            return product(a, b, bias)
        return usual["addmm"].call_boxed(keys, bias, a, b, beta=beta, alpha=alpha)

    library = torch.library.Library("aten", "IMPL")
    for name, kernel in (("mm", mm), ("addmm", addmm)):
        library.impl(name, kernel, "CPU", with_keyset=True, allow_override=True)
    return library
