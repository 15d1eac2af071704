"""The offline stage of Whence: attributes clips to training tracks and publishes one DuckDB store."""

import os

# torch reads it at its first allocation: tensors of 2 MB and more on the CPU lie in huge pages, where Linux gives them.
# A pass fills hundreds of megabytes a track, and a page fault for every 4 KB of them is an eighth of its time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
