"""Division of a pass's memory between gradients and directions. P parameters; sizes in bytes. No torch."""

from __future__ import annotations

GRADIENT_SHARE = 0.25  # of the memory, for gradients that share one reading of the directions


def divide_memory(memory: float, parameters: int, cells: int, low: bool) -> tuple[int, int]:
    """(gradients held at once, directions held at once) within `memory` bytes; `low`: in bf16. 0: none fits."""
    size = (2 if low else 4) * parameters
    gradients = min(cells, max(1, int(GRADIENT_SHARE * memory / size)))
    return gradients, max(0, int((memory - gradients * size - 4 * parameters) // size))
