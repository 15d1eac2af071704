"""The set-up of torch in a process that scores; called by the command line, by workers, benchmarks and tests."""

from __future__ import annotations

import os


def setup_torch() -> None:
    """Set what torch does by default; may be called again. Imports torch, which takes seconds.

    Training the demo's own models (`train-demo`, `train-clews`) keeps torch's defaults.
    """
    # torch reads it at its first allocation: tensors of 2 MB and more on the CPU lie in huge pages, where Linux gives
    # them. A pass fills hundreds of megabytes per track, and a page fault for every 4 KB is an eighth of its time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    import torch

    from precompute.common import matmul

    torch.backends.cuda.matmul.allow_tf32 = False  # differences of losses need fp32
    torch.backends.cudnn.allow_tf32 = False
    matmul.install()
