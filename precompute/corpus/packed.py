"""Latents in 8 bits, as decoys without sound ship: .npz of whole numbers with one step per track and frame.

Arrays of a file: `track_ids` [N] int32; `codes` [N, C, F] int8; `exponents` [N, F] int8, where 2^(exponent / 4) is a
frame's step; `silence` [C, F] float32, the latents of silence. Codes are of the difference from silence. The frames
after the end of a short track are silence: there the steps are as fine as the differences, since the model knows the
latents of silence by heart, and the loss of the cleanest draws magnifies an error of 1/64 in them many times.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from precompute.common.files import write_atomically
from precompute.errors import UserError

STEPS = 10  # a frame's root mean square, in steps: the error is 3 % of it
FINEST = -44  # exponent of the finest step, 2^-11
PARTS = {"track_ids": "int32", "codes": "int8", "exponents": "int8", "silence": "float32"}


def pack_latents(latents: Mapping[int, np.ndarray], silence: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a file from latents [C, F] by track_id and the latents [C, F] of silence."""
    rows = np.stack([np.asarray(z, np.float32) for z in latents.values()]) - silence
    spread = np.maximum(np.sqrt((rows**2).mean(1)) / STEPS, np.abs(rows).max(1) / 127)  # [N, F]
    exponents = np.ceil(4 * np.log2(np.maximum(spread, 2.0 ** (FINEST / 4)))).astype(np.int8)
    codes = np.rint(rows / _compute_steps(exponents)[:, None]).astype(np.int8)
    return {
        "track_ids": np.array(list(latents), np.int32),
        "codes": codes,
        "exponents": exponents,
        "silence": silence.astype(np.float32),
    }


def unpack_latents(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Latents [C, F] float32 by track_id, as text. Raises ValueError where the arrays do not fit together."""
    for name, kind in PARTS.items():
        if name not in arrays or arrays[name].dtype != kind:
            raise ValueError(f"{name} is missing or not {kind}")
    ids, codes, exponents, silence = (arrays[name] for name in PARTS)
    fits = (ids.ndim, silence.ndim) == (1, 2) and codes.shape == (len(ids), *silence.shape)
    if not fits or exponents.shape != (len(ids), silence.shape[1]):
        raise ValueError("shapes do not fit together")
    steps = _compute_steps(exponents)
    return {str(i): silence + codes[row] * steps[row] for row, i in enumerate(ids.tolist())}


def write_latents(path: Path, latents: Mapping[int, np.ndarray], silence: np.ndarray) -> None:
    """Write latents by track_id in 8 bits; equal latents give equal bytes."""
    arrays = pack_latents(latents, silence)
    write_atomically(path, lambda handle: np.savez_compressed(handle, **arrays))


def read_latents(path: Path) -> dict[str, np.ndarray]:
    """Latents [C, F] by track_id: in 8 bits, or plain arrays under their track_ids. Raises UserError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return unpack_latents(arrays) if "codes" in arrays else arrays
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: is no .npz of latents, or is damaged ({str(error).splitlines()[0]})") from error


def _compute_steps(exponents: np.ndarray) -> np.ndarray:
    return np.exp2(exponents.astype(np.float32) / 4)
