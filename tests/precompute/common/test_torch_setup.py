"""Large tensors lie in huge pages, where the kernel gives them: page faults would else be an eighth of the pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SETUP = "from precompute.common.torch_setup import setup_torch; setup_torch()"
ASKS = """
{first}
import torch
large = torch.empty(1 << 24)
print(sum(line.startswith("VmFlags") and " hg" in line for line in open("/proc/self/smaps")))
"""


def mappings_that_ask(first: str) -> int:
    """Number of parts of a fresh process's memory have asked for huge pages, after the statement `first`."""
    done = subprocess.run([sys.executable, "-c", ASKS.format(first=first)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not SWITCH.is_file() or "[never]" in SWITCH.read_text(), reason="no huge pages here")
def test_large_tensors_ask_for_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)  # this process has it from setup_torch
    assert mappings_that_ask(SETUP) > mappings_that_ask("import sys")


@pytest.mark.skipif(not SWITCH.is_file() or "[never]" in SWITCH.read_text(), reason="no huge pages here")
def test_a_user_may_refuse_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert mappings_that_ask(SETUP) == mappings_that_ask("import sys")
