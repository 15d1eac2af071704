"""Weights on disk -> tensors by name. Nothing that a file holds is run: a pickle gives tensors and plain containers."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from precompute.errors import UserError

EMA = "diffusion_ema.ema_model."  # of a training checkpoint of stable-audio-tools: averaged weights of the transformer
TRAINED = "diffusion."  # the whole model as it was last
READ_ERRORS = (  # what reading a damaged or foreign checkpoint raises
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
    EOFError,
    pickle.UnpicklingError,
)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Weights, fp32, of a .safetensors file, or of a .ckpt that holds nothing but weights and plain values.

    A training checkpoint gives its averaged (EMA) weights where it has them. Raises UserError; ValueError and
    SafetensorError where a file is damaged.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return {name: value.float() for name, value in load_file(str(path)).items()}
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than weights, or is damaged, and is not run; "
            "export it by stable-audio-tools' unwrap_model.py, or save it as .safetensors"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path}: holds no table of weights")
    return {name: value.float() for name, value in unwrap(state).items()}


def unwrap(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the model's own names: those of a training checkpoint renamed, others unchanged."""
    if not any(name.startswith(TRAINED) for name in state):
        return state
    own = {name.removeprefix(TRAINED): value for name, value in state.items() if name.startswith(TRAINED)}
    own |= {"model." + name.removeprefix(EMA): value for name, value in state.items() if name.startswith(EMA)}
    return own


def read_tensors(path: Path) -> Any:
    """A pickled checkpoint of others: `torch.load`'s result, with blanks for all but tensors and plain containers.

    torch's own `weights_only` refuses a whole file for one object of another kind, such as the settings that trainers
    keep beside the weights. Raises one of READ_ERRORS where the file is no checkpoint.
    """
    reader = SimpleNamespace(Unpickler=_TensorUnpickler, load=pickle.load, __name__="tensors_only")
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)


class _Blank:
    """Stands for an object of another kind: accepts its state and does nothing."""

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
    """Finds the constructors of tensors and no other callable."""

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
