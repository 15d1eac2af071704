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
_installed: list[torch.library.Library] = []  # the library of overrides lives as long as this process


def is_faster_here(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True where oneDNN is at hand and uses more of this processor than MKL does. False except on Linux."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.startswith("vendor_id") and "GenuineIntel" not in line for line in lines)


def install() -> bool:
    """Hand products to oneDNN from now on, where that is faster here; True where it is. May be called again."""
    if not _installed and is_faster_here() and hasattr(torch.library, "get_kernel"):
        _installed.append(_override())
    return bool(_installed)


def multiply(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """[m, k] x [k, n] (+ [n]) -> [m, n] by oneDNN, which takes the second matrix transposed, in any order in memory."""
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")


def is_eligible(a: torch.Tensor, b: torch.Tensor) -> bool:
    """True where a product goes to oneDNN; not for expanded matrices, which it multiplies slowly."""
    if a.dtype != torch.float32 or b.dtype != torch.float32:
        return False
    sizes = (*a.shape, b.shape[1])
    return min(sizes) >= LEAST and max(sizes) <= MOST and 0 not in a.stride() and 0 not in b.stride()


def _override() -> torch.library.Library:
    usual = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm")}

    def mm(keys: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return multiply(a, b) if is_eligible(a, b) else usual["mm"].call_boxed(keys, a, b)

    def addmm(
        keys: Any, bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1
    ) -> torch.Tensor:
        plain = beta == 1 and alpha == 1 and bias.shape == b.shape[1:] and bias.dtype == torch.float32
        if plain and 0 not in bias.stride() and is_eligible(a, b):
            return multiply(a, b, bias)
        return usual["addmm"].call_boxed(keys, bias, a, b, beta=beta, alpha=alpha)

    library = torch.library.Library("aten", "IMPL")
    for name, kernel in (("mm", mm), ("addmm", addmm)):
        library.impl(name, kernel, "CPU", with_keyset=True, allow_override=True)
    return library
