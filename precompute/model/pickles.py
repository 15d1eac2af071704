"""Other people's pickled checkpoints, read without running anything they hold: tensors and plain containers only."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

ERRORS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OSError, EOFError, pickle.UnpicklingError)


def read_tensors(path: Path) -> Any:
    """What `torch.load` gives, with a blank object in place of everything that is not a tensor or plain container.

    torch's own `weights_only` refuses a whole file for one object of another kind, such as the settings that trainers
    keep beside the weights. Raises one of `ERRORS` where the file is no checkpoint.
    """
    reader = SimpleNamespace(Unpickler=_TensorUnpickler, load=pickle.load, __name__="tensors_only")
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)


class _Blank:
    """Takes whatever the pickle says of an object, and does nothing."""

    def __init__(self, *values: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        pass

    def extend(self, values: object) -> None:
        pass


class _TensorUnpickler(pickle.Unpickler):
    """Finds the makers of tensors and no other callable."""

    ALLOWED = frozenset(
        {
            ("collections", "OrderedDict"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch._utils", "_rebuild_parameter"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        storage = module in ("torch", "torch.storage") and name.endswith("Storage")
        if storage or (module, name) in self.ALLOWED:
            return super().find_class(module, name)
        return _Blank
