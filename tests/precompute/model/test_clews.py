"""CLEWS: the published architecture, held to what the published code computes; its distance; its files."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.errors import UserError
from precompute.model.clews import (
    Clews,
    ClewsShape,
    ConstantQ,
    average_best_pairs,
    compute_distances,
    cut_windows,
    infer_published_shape,
    load_clews,
    save_clews,
)
from precompute.model.weights import read_tensors

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/clews.json").read_text())
SMALL = ClewsShape(
    window_s=2, hop_s=1, front=(4, 8), blocks=(2, 1, 1, 1), channels=(8, 12, 16, 16), strides=(1, 2, 2, 1), dimension=8
)


def seeded(shape: ClewsShape, seed: int) -> Clews:
    """A network whose weights follow from a seed and their sorted names alone, as those of the golden numbers do."""
    rng, network = np.random.default_rng(seed), Clews(shape)
    weights = network.state_dict()
    for name in sorted(n for n in weights if not n.endswith("num_batches_tracked")):
        size = tuple(weights[name].shape)
        value = rng.standard_normal(size)
        if name.endswith("running_var"):
            value = 0.5 + np.abs(value)
        elif name.endswith(("running_mean", "bias")):
            value = 0.1 * value
        elif name == "pool.p":
            value = 1.5 + 0.1 * value
        elif len(size) > 1:
            value = value * math.sqrt(2 / np.prod(size[1:]))
        else:
            value = 1 + 0.1 * value
        weights[name] = torch.from_numpy(np.asarray(value)).float()
    network.load_state_dict(weights)
    return network.eval()


def chord(seconds: float, seed: int) -> np.ndarray:
    """Six decaying sines at 16 kHz."""
    rng, time = np.random.default_rng(seed), np.arange(int(16_000 * seconds)) / 16_000
    hertz, phase = 110 * 2 ** (rng.integers(0, 36, 6) / 12), rng.random(6)
    tones = sum(np.sin(2 * np.pi * f * time + p) for f, p in zip(hertz, phase, strict=True))
    return (tones * np.exp(-3 * (time % 0.5)) / 6).astype(np.float32)


@pytest.fixture(scope="module")
def small() -> Clews:
    return seeded(SMALL, 7)


def test_published_names_and_shapes_fit() -> None:
    wanted = {name: shape for name, shape in GOLDEN["dvi-clews"].items() if not name.startswith("cqt.")}
    with torch.device("meta"):  # names and shapes need no memory
        weights = {name: torch.empty(shape) for name, shape in wanted.items()}
        network = Clews(ClewsShape())
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == wanted
    for dimension in GOLDEN["dimension"].values():
        weights["proj.1.weight"] = torch.empty(dimension, 2048, device="meta")
        assert infer_published_shape(weights) == ClewsShape(dimension=dimension)
    kernels = GOLDEN["dvi-clews"]["cqt.0.cqt_kernels_real"]
    assert kernels == [84, 1, 2 * network.constant_q.margin]


def test_constant_q_as_published(small: Clews) -> None:
    found = small.constant_q(torch.from_numpy(chord(1.0, 3))[None])[0]
    for place, frame, value in GOLDEN["cqt"]:
        assert float(found[place, frame]) == pytest.approx(value, rel=1e-3)


def test_constant_q_is_a_windowed_tone() -> None:
    """The naive twin: one bin at one frame, summed as the definition has it."""
    rate, hop, wave = 16_000, 320, chord(1.2, 4).astype(np.float64)
    front = ConstantQ(rate, hop, 84, 12)
    found = front(torch.from_numpy(wave).float()[None])[0]
    for place, frame in ((60, 30), (83, 11), (24, 40)):
        hertz = 32.70 * 2 ** (place / 12)
        length = math.ceil(rate / hertz / (2 ** (1 / 12) - 1))
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        start = frame * hop - (length + 1) // 2
        tone = window * np.exp(2j * np.pi * hertz / rate * np.arange(length))
        value = math.sqrt(length) * abs((wave[start : start + length] * tone).sum()) / window.sum()
        assert float(found[place, frame]) == pytest.approx(value, rel=1e-3, abs=1e-6)


def test_embeddings_as_published(small: Clews) -> None:
    np.testing.assert_allclose(small.embed_recording(chord(4.3, 1)), GOLDEN["long"], atol=2e-5)
    np.testing.assert_allclose(
        small.embed_recording(chord(0.9, 2)), GOLDEN["short"], atol=2e-5
    )  # repeated to two seconds


def test_distance_as_published() -> None:
    rng = np.random.default_rng(11)
    query, others = (torch.from_numpy(rng.standard_normal(s)).float() for s in ((1, 7, 6), (4, 9, 6)))
    between = compute_distances(query, others)
    for pairs, wanted in GOLDEN["best"].items():
        np.testing.assert_allclose(average_best_pairs(between, int(pairs)), wanted, atol=1e-5)
    np.testing.assert_allclose(between.amin((1, 2)), GOLDEN["nearest"], atol=1e-5)


def test_best_pairs_against_a_plain_search() -> None:
    between = np.random.default_rng(0).random((5, 4))
    used: list[tuple[int, int]] = []
    for value in sorted(between.ravel()):
        place = tuple(int(i) for i in np.argwhere(between == value)[0])
        if all(place[0] != r and place[1] != c for r, c in used) and len(used) < 3:
            used.append(place)
    wanted = np.mean([between[p] for p in used])
    assert float(average_best_pairs(torch.from_numpy(between), 3)) == pytest.approx(wanted)
    assert float(average_best_pairs(torch.from_numpy(between.T.copy()), 3)) == pytest.approx(
        wanted
    )  # no matter which side
    all_four = average_best_pairs(torch.from_numpy(between), 99)  # never more pairs than windows
    assert float(all_four) == pytest.approx(float(average_best_pairs(torch.from_numpy(between), 4)))


@pytest.mark.parametrize(("samples", "windows"), [(10, 1), (100, 1), (101, 2), (130, 2), (131, 3)])
def test_windows_repeat_what_is_short_and_hold_the_end(samples: int, windows: int) -> None:
    wave = np.arange(samples, dtype=np.float32)
    cut = cut_windows(wave, 100, 30)
    assert cut.shape == (windows, 100)
    assert samples - 1 in cut[-1]
    np.testing.assert_array_equal(cut[-1], (np.arange(100) + 30 * (windows - 1)) % samples)


def test_save_and_load(small: Clews, tmp_path: Path) -> None:
    save_clews(small, tmp_path / "clews.safetensors")
    again = load_clews(tmp_path / "clews.safetensors")
    assert again.shape == SMALL
    np.testing.assert_allclose(
        again.embed_recording(chord(2, 1)), small.embed_recording(chord(2, 1)), atol=0.02
    )  # fp16


class PickledSettings:
    """Something that a trainer keeps beside the weights; making it is told."""

    made = 0

    def __init__(self) -> None:
        PickledSettings.made += 1

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return PickledSettings, ()


def test_a_published_checkpoint_loads_and_runs_nothing(tmp_path: Path) -> None:
    shape = ClewsShape(front=(2, 4), blocks=(1, 1, 1, 1), channels=(4, 6, 8, 10), dimension=3)
    network = seeded(shape, 1)
    weights = {**network.state_dict(), "cqt.0.cqt_kernels_real": torch.zeros(84, 1, 4)}
    torch.save({"model": weights, "conf": PickledSettings(), "epoch": 3}, tmp_path / "checkpoint_best.ckpt")
    made = PickledSettings.made
    found = load_clews(tmp_path / "checkpoint_best.ckpt")
    assert PickledSettings.made == made
    assert found.shape == shape
    assert all(
        torch.equal(a, b) for a, b in zip(found.state_dict().values(), network.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_what_is_no_checkpoint_is_told_in_a_line(content: bytes | None, tmp_path: Path) -> None:
    for name in ("a.ckpt", "a.safetensors"):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            load_clews(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"layer.weight": torch.zeros(2)}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_clews(tmp_path / "other.ckpt")
    assert set(read_tensors(tmp_path / "other.ckpt")) == {"model"}


def test_batch_and_order_change_nothing(small: Clews) -> None:
    windows = torch.from_numpy(np.stack([chord(2, k) for k in range(3)]))
    with torch.no_grad():
        together = small(windows)
        for order in itertools.permutations(range(3)):
            torch.testing.assert_close(small(windows[list(order)]), together[list(order)], atol=1e-5, rtol=1e-4)
