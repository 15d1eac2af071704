"""The file of an exemplar update: small, whole, and of one checkpoint alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from precompute.errors import UserError
from precompute.exemplars.files import load_exemplars, save_exemplars
from precompute.model.diffusion import Model, third_party
from precompute.train.exemplars import ExemplarSettings
from precompute.train.lora import freeze_matrices
from support.tuned import make_exemplars_of, make_random_update

REALISTIC = Path(__file__).resolve().parents[3] / "precompute/configs/demo-model.json"


def test_saved_and_loaded_it_is_the_same(model: Model, tmp_path: Path) -> None:
    one = make_exemplars_of(make_random_update(freeze_matrices(model), 2), model.sha256)
    save_exemplars(one, tmp_path / "new" / "one.safetensors")
    other = load_exemplars(tmp_path / "new" / "one.safetensors", model)
    assert replace(other, update=one.update) == one and other.track_ids == [17, 18]
    assert other.update.scale == one.update.scale
    for side in ("a", "b"):
        ours, theirs = getattr(one.update, side), getattr(other.update, side)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["one.safetensors"]


def test_other_weights_and_broken_or_absent_files_are_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    with pytest.raises(UserError, match="no exemplars here; `python -m precompute train-exemplars` makes them"):
        load_exemplars(path, model)
    save_exemplars(make_exemplars_of(make_random_update(freeze_matrices(model), 2), "0" * 64), path)
    with pytest.raises(UserError, match="made for other weights"):
        load_exemplars(path, model)
    path.write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="holds no exemplars"):
        load_exemplars(path, model)


@pytest.mark.parametrize("record", [{"exemplars": [{"track_id": 1}]}, {"steps": 1}])
def test_a_record_that_lacks_something_is_refused(model: Model, tmp_path: Path, record: dict) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "one.safetensors"
    save_file({"x.a": torch.zeros(1)}, path, {"exemplars": json.dumps({"scale": 1, "exemplars": [], **record})})
    with pytest.raises(UserError, match="holds no exemplars"):
        load_exemplars(path, model)


def test_a_file_of_the_demo_model_is_at_most_half_a_megabyte(tmp_path: Path) -> None:
    config = json.loads(REALISTIC.read_text())
    weights = freeze_matrices(Model(third_party.create_network(config), config, None, sha256="x"))
    update = make_random_update(weights, ExemplarSettings().rank)
    save_exemplars(make_exemplars_of(update, "x", (1, 2, 3, 4)), tmp_path / "one.safetensors")
    assert (tmp_path / "one.safetensors").stat().st_size <= 490_000  # room for a longer record
