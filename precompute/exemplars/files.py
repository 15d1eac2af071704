"""The file of an exemplar update: safetensors in fp16, NAME.a and NAME.b; the record of its training as metadata."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from precompute.common.files import write_atomically
from precompute.errors import UserError
from precompute.exemplars.low_rank import LowRankUpdate
from precompute.model.diffusion import Model


@dataclass(frozen=True)
class Exemplar:
    """A decoy that the model was tuned on, and how near its clips came to it.

    Distances are 1 - cosine of CLAP audio embeddings, in [0, 2].
    """

    track_id: int
    caption: str
    seconds: float
    limit: float  # least distance that its clips keep
    distances: tuple[tuple[int, float], ...]  # (step, smallest distance of a clip to the exemplar); step 0 = theta_0
    crossed_at: int | None  # first step whose clips are nearer than the limit; None = never, 0 = before any training


@dataclass(frozen=True)
class ExemplarUpdate:
    """One low-rank update that was trained on all exemplars together, and the record of its training."""

    update: LowRankUpdate
    exemplars: tuple[Exemplar, ...]
    steps: int  # of the update that is kept
    base_sha256: str  # of the checkpoint that the update belongs to

    @property
    def track_ids(self) -> list[int]:
        """track_id of each exemplar."""
        return [exemplar.track_id for exemplar in self.exemplars]


def save_exemplars(made: ExemplarUpdate, path: Path) -> None:
    """Write the file beside and rename it. Raises OSError."""
    from safetensors.torch import save as to_bytes

    tensors = {f"{name}.a": value for name, value in made.update.a.items()}
    tensors |= {f"{name}.b": value for name, value in made.update.b.items()}
    record = {
        "exemplars": [asdict(exemplar) for exemplar in made.exemplars],
        "steps": made.steps,
        "base_sha256": made.base_sha256,
        "scale": made.update.scale,
    }
    metadata = {"exemplars": json.dumps(record)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_bytes({name: value.half().contiguous() for name, value in tensors.items()}, metadata))


def load_exemplars(path: Path, model: Model) -> ExemplarUpdate:
    """Read an update of this model's weights.

    Raises UserError where there is no such file, it holds no update, or was made for other weights.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no exemplars here; `python -m precompute train-exemplars` makes them")
    try:
        with safe_open(str(path), framework="pt") as handle:
            record = json.loads((handle.metadata() or {})["exemplars"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
        a, b = ({n[:-2]: v for n, v in tensors.items() if n.endswith(end)} for end in (".a", ".b"))
        update = LowRankUpdate(a, b, float(record.pop("scale")))
        exemplars = tuple(_read_exemplar(one) for one in record.pop("exemplars"))
        made = ExemplarUpdate(update, exemplars, **record)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path}: holds no exemplars ({str(error).splitlines()[0]})") from error
    if made.base_sha256 != model.sha256:
        theirs, ours = made.base_sha256[:12], model.sha256[:12]
        raise UserError(f"{path}: made for other weights ({theirs}, here {ours}); delete it and make it again")
    return made


def count_exemplars(path: Path) -> int:
    """How many exemplars a file is of; 0 where that cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as handle:
            return len(json.loads((handle.metadata() or {})["exemplars"])["exemplars"])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        return 0


def _read_exemplar(record: dict) -> Exemplar:
    """One exemplar's record as it stands in the metadata."""
    distances = tuple((int(step), float(value)) for step, value in record["distances"])
    return Exemplar(**{**record, "distances": distances})
