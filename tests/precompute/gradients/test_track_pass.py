"""The pass: precision within bounds of fp64; chunks, groups, cells and kernels change nothing more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from precompute.common.cache import Cache
from precompute.config.run import BankSection, PassSection, RunConfig
from precompute.errors import UserError
from precompute.gradients import cell_products as products
from precompute.gradients import directions, steps
from precompute.gradients import track_pass as engine
from precompute.gradients.context import Context, Queries, make_noise_bank
from precompute.gradients.finite_difference import correlate_ranks
from precompute.gradients.taps import make_step_tap
from precompute.methods.base import MethodResult
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import Items, Model, load_model
from support.twins import make_plain_context

BANK = BankSection(replicates=2, strata=2)
TRACKS = 20


@dataclass(frozen=True)
class Setting:
    """One pass: shown 2, a target, cohort 10; the cache keeps the directions."""

    model: Model
    items: Items
    config: RunConfig
    folder: Path

    def context(self) -> Context:
        """Unlearning's, with the directions kept so far."""
        queries = Queries(shown=self.items[[0, 1]], targets=self.items[[2]], cohort=self.items[list(range(3, 13))])
        config = replace(self.config, bank=BANK, pass_=self.model.arithmetic)
        return make_plain_context(self.model, self.items[list(range(TRACKS))], queries, config, Cache(self.folder))

    @property
    def method(self) -> Unlearning:
        return Unlearning(self.config.unlearning, tracks=16)

    def scores(self, **arithmetic) -> MethodResult:
        """With `[pass]` set so; only the directions are kept from one call to the next."""
        setting = replace(self, model=self.model.with_arithmetic(PassSection(**arithmetic)))
        for path in self.folder.glob("scores-*"):
            path.unlink()
        return setting.method.compute_scores(setting.context(), {})


@pytest.fixture(scope="module")
def setting(model: Model, items: Items, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(model, items, config, tmp_path_factory.mktemp("pass"))


@pytest.fixture(scope="module")
def plain(setting: Setting) -> MethodResult:
    """Everything in memory, one track after another."""
    return setting.scores(memory_gb=100.0)


def assert_close(found: MethodResult, wanted: MethodResult, relative: float = 1e-5) -> None:
    """Against the largest score of each clip; a score near zero is a difference of large terms."""
    for name in ("cells", "windows", "cohort"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        np.testing.assert_allclose(ours, theirs, rtol=relative, atol=relative * np.nanmax(np.abs(theirs)))


def size_of_a_row(setting: Setting) -> int:
    """Bytes of one gradient, or direction."""
    return 4 * sum(p.numel() for p in setting.model.parameters("all").values())


@pytest.fixture(scope="module")
def reference(setting: Setting, plain: MethodResult) -> np.ndarray:
    """[Q, N] float64: the fp64 network's gradients of the tracks, times the same directions."""
    twin = load_model(setting.config)
    twin.network.double()
    parameters, bank = twin.parameters("all"), make_noise_bank(BANK)
    made = setting.method.step.share_directions(setting.context())
    steps, rows = torch.stack([made.average_halves(clip) for clip in range(2)]).double(), []
    for row in range(TRACKS):
        item = setting.items[[row]]
        condition = {
            k: v.double() if v is not None and v.is_floating_point() else v
            for k, v in setting.model.condition(item).items()
        }
        total = torch.zeros(len(steps), dtype=torch.float64)
        for cell in bank.cells():
            t, eps = (part.double() for part in bank.cell(*cell, (twin.latent_channels, twin.frames)))
            loss = twin.loss(item.latents[0].double(), condition, t, eps)
            parts = torch.autograd.grad(loss, list(parameters.values()))
            total += steps @ torch.cat([part.flatten() for part in parts])
        rows.append(total / len(bank.cells()))
    return torch.stack(rows, 1).numpy()


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999), ("bf16", 0.995)])
def test_rank_correlation_to_fp64(setting: Setting, reference: np.ndarray, precision: str, least: float) -> None:
    scores = setting.scores(precision=precision).score[: len(reference)]
    assert min(correlate_ranks(one, other) for one, other in zip(scores, reference, strict=True)) >= least
    error = np.abs(scores - reference).max() / np.abs(reference).max()
    assert error < (1e-4 if precision == "fp32" else 0.05)
    assert precision == "fp32" or error > 1e-5  # it is another arithmetic


def test_bf16_scores_have_a_name_of_their_own(setting: Setting) -> None:
    setting.scores(precision="bf16")
    low = {path.name for path in setting.folder.glob("scores-*")}
    setting.scores()
    assert low and not low & {path.name for path in setting.folder.glob("scores-*")}


def test_directions_on_disk_change_no_bit(setting: Setting, plain: MethodResult, monkeypatch) -> None:
    """Read by runs of parameters, for one track at a time or several: `memory_gb` is below all directions together."""
    monkeypatch.setattr(directions, "CHUNK", 1000)
    whole = setting.scores(memory_gb=100.0)
    reads, read = [], directions.DiskRows.read_columns

    def counted(self, start, end):
        reads.append(start)
        return read(self, start, end)

    monkeypatch.setattr(directions.DiskRows, "read_columns", counted)
    counts = []
    for rows in (5, 20):
        reads.clear()
        found = setting.scores(memory_gb=rows * size_of_a_row(setting) / 1e9)
        counts.append(len(reads))
        for name in ("cells", "windows", "cohort"):
            assert np.array_equal(getattr(found, name), getattr(whole, name), equal_nan=True)
    assert counts[0] == 2 * counts[1] > 0  # several tracks share what is read
    assert_close(whole, plain)


def test_rows_on_disk_are_cut_and_looped_over_like_a_tensor() -> None:
    parts = [np.random.default_rng(n).random((n, 7), dtype=np.float32) for n in (2, 0, 3)]
    mapped, wanted = directions.DiskRows(parts), torch.from_numpy(np.concatenate(parts))
    assert len(mapped) == 5 and torch.equal(torch.stack(list(mapped)), wanted)
    assert torch.equal(mapped.select_rows(1, 4).read_columns(2, 6), wanted[1:4, 2:6])
    assert torch.equal(mapped.read_columns(5, None), wanted[:, 5:])
    assert directions.DiskRows([parts[1]]).read_columns(2, 6).shape == (0, 4)


def test_cell_by_cell_with_few_directions_at_a_time(setting: Setting, plain: MethodResult, monkeypatch) -> None:
    """Where one track's gradients do not fit: the clips' directions in pieces, gradients computed anew for each."""
    blocks, product = set(), products.multiply_block

    def counted(gradients, block):
        blocks.add((len(gradients), len(block)))
        return product(gradients, block)

    monkeypatch.setattr(products, "multiply_block", counted)
    tap, bank = make_step_tap(setting.context(), setting.method.step), make_noise_bank(BANK)
    needed = [products.is_needed(setting.model, tap, bank, rows * size_of_a_row(setting)) for rows in (3, 4)]
    assert needed == [True, False]
    monkeypatch.setattr(products, "is_needed", lambda *_: True)  # as on a GPU
    size = size_of_a_row(setting)
    for rows, at_once in ((3, 1), (4.5, 2)):
        blocks.clear()
        assert_close(setting.scores(memory_gb=rows * size / 1e9), plain)
        assert max(count for _, count in blocks) == at_once
    with pytest.raises(
        UserError, match=r"\[pass\] memory_gb = .* a gradient and a direction of [\d,]+ parameters need"
    ):
        setting.scores(memory_gb=2 * size / 1e9)


def test_neither_batch_of_a_clip_s_draws_nor_attention_s_kernel_matters(
    setting: Setting, plain: MethodResult, monkeypatch, tmp_path: Path
) -> None:
    assert_close(setting.scores(attention="plain"), plain)
    monkeypatch.setattr(steps, "ASCENT_BATCH", 1)
    assert_close(replace(setting, folder=tmp_path).scores(), plain)


def test_padding_is_part_of_the_score(setting: Setting) -> None:
    """Tracks are padded as in training, and the network hears the padding: none may be cut off to save time."""
    model, row = setting.model, int(setting.items.valid_frames.argmin())
    item, bank = setting.items[[row]], make_noise_bank(BANK)
    valid = int(item.valid_frames[0])
    assert valid < model.frames
    t, eps = bank.cell(0, 0, (model.latent_channels, model.frames))
    condition = model.condition(item)
    with torch.no_grad():
        padded = model.loss(item.latents[0], condition, t, eps, valid)
        cut = model.loss(item.latents[0, :, :valid], condition, t, eps[:, :, :valid])
    assert abs(float(padded - cut)) > 1e-4 * float(padded)


@pytest.mark.slow
def test_compiled_scores_are_the_same(setting: Setting, plain: MethodResult) -> None:
    assert_close(setting.scores(compile=True), plain, 1e-4)


@pytest.mark.parametrize(
    ("field", "value"), [("precision", "fp8"), ("attention", "x"), ("memory_gb", 0.0), ("shard_tracks", 0)]
)
def test_mistakes_in_the_section_are_told(field: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"\[pass\] {field} = "):
        PassSection(**{field: value})


def test_latents_of_a_shard_are_read_ahead(setting: Setting, monkeypatch) -> None:
    """All of a shard's, by a thread of its own; the scores are those of a pass without it."""
    read, ahead = [], engine.read_ahead

    def watched(tracks: Items, rows):
        thread = ahead(tracks, rows)
        read.append((list(rows), thread.name))
        return thread

    monkeypatch.setattr(engine, "read_ahead", watched)
    with_it = setting.scores()
    assert [rows for rows, _ in read] == [list(range(16)), list(range(16, TRACKS))] and read[0][1] == "latents"
    thread = ahead(setting.items, [3, 1])
    thread.join(10)
    assert not thread.is_alive()
    monkeypatch.setattr(engine, "read_ahead", lambda *_: SimpleNamespace(join=lambda: None))
    assert np.array_equal(setting.scores().cells, with_it.cells)
