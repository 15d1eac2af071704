"""Every gradient method against a naive twin from full gradients; duplicates found; order changes nothing."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute import engine
from precompute.cache import Cache
from precompute.config import BankSection, RunConfig, UnlearningSection
from precompute.engine import noise_bank
from precompute.fisher import diagonal_fisher, flat_gradient, inverse
from precompute.gradients import Kind, of_clip, of_track, value
from precompute.methods import unlearning
from precompute.methods.base import Context, MethodResult, Queries
from precompute.methods.catalogue import CATALOGUE, method_class
from precompute.methods.trak import residuals
from precompute.methods.unlearning import Unlearning
from precompute.model import Items, Model
from precompute.sketch import Sketch
from precompute.stages import load_model

LAYERS, WIDE = "to_kv", 1 << 15  # a sketch wider than the gradient changes nothing
TARGETS = [0, 5, 10]
GRADIENT = [
    "unlearning",
    "unlearning-ekfac",
    "unlearning-gram",
    "influence",
    "influence-damped",
    "trak",
    "dtrak",
    "das",
]


def make_context(config: RunConfig, model: Model, items: Items, tracks, folder: Path, order=None) -> Context:
    """16 training tracks and 4 decoys; 2 decoys as shown clips, tracks as targets, further decoys as the cohort."""
    section = UnlearningSection(layers=LAYERS, ascent_draws=4, window_s=0.5)
    config = replace(config, unlearning=section, bank=BankSection(replicates=2, strata=2, seed=7))
    order = list(range(20)) if order is None else order
    return Context(
        model=model,
        tracks=[tracks[row] for row in order],
        items=items[order],
        queries=Queries(shown=items[[20, 21]], targets=items[TARGETS], cohort=items[[22, 23, 24]]),
        target_rows=np.array([order.index(row) for row in TARGETS]),
        bank=noise_bank(config.bank),
        config=config,
        cache=Cache(folder),
        key="key",
        track_key=f"tracks {order}",
    )


def make(name: str, context: Context, **changes):
    """A method with its defaults, changed."""
    defaults = CATALOGUE[name].settings
    settings = replace(defaults, **changes) if defaults is not None else None
    return method_class(name).create(settings, context.config, len(context.trained))


def scores(context: Context, name: str, **changes) -> MethodResult:
    method = make(name, context, **changes)
    result = method.scores(context.of(method), {})
    result.check(context)
    return result


@pytest.fixture(scope="module")
def context(config: RunConfig, model: Model, items: Items, tracks, tmp_path_factory) -> Context:
    return make_context(config, model, items, tracks, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def naive(context: Context):
    """Full gradients by kind, one autograd call a draw: tracks [N, R, P] and clips [Q + K, HALVES, P], float64."""

    @functools.cache
    def gradients(objective: str = "loss", normalised: bool = False) -> tuple[np.ndarray, np.ndarray]:
        def row(item: Items, bank, frames: int | None) -> np.ndarray:
            found = []
            for replicate in range(bank.replicates):
                cells = []
                for stratum in range(bank.strata):
                    t, eps = bank.cell(replicate, stratum, (model.latent_channels, model.frames))
                    predicted, target = model.predict(item.latents[0], model.condition(item), t, eps)
                    scalar = value(objective, predicted, target, frames)
                    cells.append(flat_gradient(scalar, model.parameters(LAYERS)).double().numpy())
                if normalised:
                    cells = [cell / np.linalg.norm(cell) for cell in cells]
                found.append(np.mean(cells, 0))
            return np.array(found)

        model = context.model
        own = unlearning.ascent_bank(context.config.unlearning)
        of_tracks = [row(context.items[[i]], context.bank, None) for i in range(20)]
        clips = [context.clip(*clip) for clip in context.clips]
        return np.array(of_tracks), np.array([row(clip, own, int(clip.valid_frames[0])) for clip in clips])

    return gradients


@pytest.fixture(scope="module")
def of_loss(naive):
    return naive()


@pytest.fixture(scope="module")
def fisher(context: Context) -> np.ndarray:
    found = diagonal_fisher(context.model, context.items[range(16)], LAYERS, context.config.fisher)
    return found.double().numpy()


def agrees(found: MethodResult, cells: np.ndarray, cohort: np.ndarray, rel: float = 1e-4) -> None:
    """`cells` [Q, N, R, H] and `cohort` [K, N] of a twin."""
    assert found.cells.shape[3] == 1
    ours = found.cells[:, :, :, 0]
    if cells.shape[2] == 1:  # over all replicates
        ours = ours.mean(2, keepdims=True)
    assert np.abs(ours - cells).max() <= rel * np.abs(cells).max()
    assert np.abs(found.cohort - cohort).max() <= rel * np.abs(cohort).max()


def linear(tracks: np.ndarray, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products of [N, R, P] and [Q + K, H, P]; 5 clips are stored."""
    return np.einsum("irp,qhp->qirh", tracks, clips[:5]), clips[5:].mean(1) @ tracks.mean(1).T


# -- gradients -----------------------------------------------------------------------------------------------------


def test_one_pass_gives_every_kind_of_gradient(context: Context, naive) -> None:
    kinds = [Kind(o, LAYERS, n) for o in ("loss", "square", "mean") for n in (False, True)]
    seen = of_track(context.model, context.items[[3]], kinds, context.bank)
    alone = unlearning.track_gradients(context.model, context.items[[3]], context.config.unlearning, context.bank)
    assert torch.equal(seen.rows[kinds[0]], alone)
    for kind in kinds:
        wanted = naive(kind.objective, kind.normalised)[0][3]
        found = seen.rows[kind].double().reshape(2, 2, -1).mean(1).numpy()
        assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
        if kind.normalised:
            assert torch.allclose(seen.rows[kind].norm(dim=1), torch.ones(4), atol=1e-5)
    assert set(seen.seconds) == set(kinds) and min(seen.seconds.values()) > 0


def test_the_pass_knows_the_losses(context: Context) -> None:
    item, model = context.items[[4]], context.model
    found = of_track(model, item, [Kind(layers=LAYERS)], context.bank).losses
    wanted = unlearning.bank_loss(model, item, context.config.unlearning, context.bank)
    assert float(found.mean()) == pytest.approx(wanted, rel=1e-6) and found.shape == (4,)


@pytest.mark.parametrize("objective", ["loss", "square", "mean"])
def test_a_clips_gradient_is_the_mean_over_its_draws(context: Context, naive, objective: str) -> None:
    bank = unlearning.ascent_bank(context.config.unlearning)
    for normalised in (False, True):
        wanted = naive(objective, normalised)[1][2]
        kind = Kind(objective, LAYERS, normalised, masked=True)
        found = of_clip(context.model, context.clip("targets", 0), kind, bank).double().numpy()
        assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


# -- methods against twins -----------------------------------------------------------------------------------------


def test_influence_is_the_product_of_gradients(context: Context, of_loss) -> None:
    agrees(scores(context, "influence"), *linear(*of_loss))


def test_damped_influence_has_the_curvature_between(context: Context, of_loss, fisher: np.ndarray) -> None:
    tracks, clips = of_loss
    agrees(scores(context, "influence-damped", damping=0.5), *linear(tracks / (fisher + 0.5 * fisher.mean()), clips))


def test_normalised_influence(context: Context, naive) -> None:
    agrees(scores(context, "influence", normalise_timesteps=True), *linear(*naive("loss", True)))


@pytest.mark.parametrize("leverage", [False, True])
def test_gram_correction_against_the_dense_formula(
    context: Context, of_loss, fisher: np.ndarray, leverage: bool
) -> None:
    tracks, clips = (x / np.sqrt(fisher + 0.1 * fisher.mean()) for x in of_loss)
    wanted = gram_twin(tracks, clips, leverage)
    agrees(scores(context, "unlearning-gram", damping=0.05, width=WIDE, leverage=leverage), *wanted, rel=1e-3)


@pytest.mark.parametrize("leverage", [False, True])
def test_gram_correction_in_a_narrow_space(context: Context, of_loss, fisher: np.ndarray, leverage: bool) -> None:
    """The k x k form is the same formula on sketches."""
    sketch = Sketch(of_loss[0].shape[-1], 128, seed=505)
    white = [torch.from_numpy(x / np.sqrt(fisher + 0.1 * fisher.mean())).float() for x in of_loss]
    tracks, clips = (sketch(x.flatten(0, 1)).double().numpy().reshape(*x.shape[:2], 128) for x in white)
    wanted = gram_twin(tracks, clips, leverage)
    found = scores(context, "unlearning-gram", damping=0.05, width=128, form="sketch", leverage=leverage)
    agrees(found, *wanted, rel=1e-3)


def gram_twin(tracks: np.ndarray, clips: np.ndarray, leverage: bool) -> tuple[np.ndarray, np.ndarray]:
    """From whitened [N, R, P] and [Q + K, H, P]."""
    a = tracks[:16].mean(1)
    damping = 0.05 * np.square(a).sum(1).mean()
    if leverage:
        tracks = tracks.mean(1, keepdims=True)  # what A holds of a track
    cells, cohort = linear(tracks, dense(a, damping, clips))
    for i in range(16) if leverage else []:  # leaving the track itself out of A is the same as dividing by 1 - h
        own, usual = linear(tracks[[i]], dense(np.delete(a, i, 0), damping, clips))
        cells[:, i], cohort[:, i] = own[:, 0], usual[:, 0]
    return cells, cohort


def dense(a: np.ndarray, damping: float, vectors: np.ndarray) -> np.ndarray:
    """vectors (A'A + damping I)^-1 by the eigenvectors of A'A that A spans."""
    _, values, right = np.linalg.svd(a, full_matrices=False)
    inside = vectors @ right.T
    return (vectors - inside @ right) / damping + (inside / (values**2 + damping)) @ right


def test_a_narrow_sketch_of_the_gram_matrix_keeps_the_ranking(context: Context) -> None:
    exact = scores(context, "unlearning-gram", width=WIDE).score
    found = scores(context, "unlearning-gram", width=2048).score
    assert np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(exact, found, strict=True)]) > 0.9


@pytest.mark.parametrize(("name", "objective"), [("trak", "loss"), ("dtrak", "square")])
@pytest.mark.parametrize("normalised", [False, True])
def test_projected_methods_against_the_dense_formula(
    context: Context, naive, name: str, objective: str, normalised: bool
) -> None:
    tracks, clips = naive(objective, normalised)
    a = tracks[:16].mean(1)
    solved = dense(a, 0.2 * np.square(a).sum(1).mean(), clips)
    found = scores(context, name, damping=0.2, width=WIDE, normalise_timesteps=normalised)
    agrees(found, *linear(tracks, solved), rel=1e-3)


def test_das_is_that_times_residual_and_leverage(context: Context, naive) -> None:
    tracks, clips = naive("mean", True)
    a = tracks[:16].mean(1)
    damping = 0.2 * np.square(a).sum(1).mean()
    cells, cohort = linear(tracks, dense(a, damping, clips))
    bank = context.bank
    losses = [
        unlearning.bank_loss(context.model, context.items[[i]], context.config.unlearning, bank) for i in range(20)
    ]
    factor = np.sqrt(losses)
    factor[:16] /= 1 - (dense(a, damping, a) * a).sum(1)
    found = scores(context, "das", damping=0.2, width=WIDE)
    agrees(found, cells * factor[:, None, None], cohort * factor, rel=1e-3)
    squared = scores(context, "das", damping=0.2, width=WIDE, squared=True)
    assert np.allclose(squared.cells, found.cells**2)
    bare = scores(context, "das", damping=0.2, width=WIDE, residual="none", leverage=0)
    agrees(bare, cells, cohort, rel=1e-3)


def test_flat_residuals_have_unit_length_over_the_draws() -> None:
    losses = np.array([[4.0, 9.0], [1.0, 1.0]])
    assert np.allclose(residuals(losses, "flat"), [np.mean([2, 3]) / np.sqrt(13), 1 / np.sqrt(2)])
    assert np.allclose(residuals(losses, "error"), np.sqrt([6.5, 1.0])) and residuals(losses, "none").tolist() == [1, 1]


def test_ekfac_unlearning_is_the_preconditioned_product(context: Context, of_loss) -> None:
    method = make("unlearning-ekfac", context, damping=0.2)
    ekfac, (tracks, clips) = method.curvature(context), of_loss
    solved = np.stack([ekfac.solve(torch.from_numpy(clip).float()).double().numpy() for clip in clips])
    scale = context.config.unlearning.learning_rate / 16
    agrees(method.scores(context.of(method), {}), *linear(tracks, scale * solved), rel=1e-3)


def test_tracin_is_the_mean_over_checkpoints(
    context: Context, config: RunConfig, model: Model, items: Items, tracks, tiny_root: Path, tmp_path: Path
) -> None:
    folder = tiny_root / "train" / "checkpoints"
    found = scores(context, "tracin", checkpoints=str(folder))
    paths = sorted(folder.glob("step-*/model.safetensors"))
    assert len(paths) == 2
    there = [make_context(config, load_model(config, p), items, tracks, tmp_path / p.parent.name) for p in paths]
    alone = [scores(one, "influence") for one in there]
    agrees(found, np.mean([r.cells[:, :, :, 0] for r in alone], 0), np.mean([r.cohort for r in alone], 0))
    method = make("tracin", context, checkpoints=str(tmp_path / "none"))
    assert method.requirements(context) == f"{tmp_path}/none: no checkpoints of the training here"


@pytest.mark.parametrize("name", ["unlearning", "unlearning-ekfac", "influence", "influence-damped"])
def test_moments_have_the_score_as_their_mean(context: Context, name: str) -> None:
    method = make(name, context)
    result = method.scores(context.of(method), {})
    for clip, track in ((0, 3), (1, 17)):
        rise = method.moments(context.of(method), clip, track)
        assert rise.shape == (context.model.frames,)
        assert rise.mean() == pytest.approx(result.score[clip, track], rel=2e-3)


# -- more steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pull_back", [True, False])
def test_more_steps_against_a_plain_loop(context: Context, config: RunConfig, pull_back: bool) -> None:
    section = UnlearningSection(
        layers=LAYERS, ascent_draws=4, window_s=0.5, steps=3, pull_back=pull_back, relative_step=0.02
    )
    walker, own = load_model(config), load_model(config)
    curvature = inverse(diagonal_fisher(own, context.items[range(16)], LAYERS, config.fisher), 0.1)
    method, clip = Unlearning(section, tracks=16), context.items[[2]]
    found = method.directions(own, clip, curvature, True)
    assert found.shape[1] > 1
    kept = {n: p.detach().clone() for n, p in walker.parameters(LAYERS).items()}
    start = torch.cat([p.flatten() for p in kept.values()]).double()
    for half in range(2):
        theta, rate = start.clone(), None
        for _ in range(3):
            plain = replace(section, steps=1)
            ascent = unlearning.clip_gradients(walker, clip, plain, False)[half, 0].double() * curvature / 16
            rate = 0.02 * start.norm() / ascent.norm() if rate is None else rate
            pull = min(1.0, float(rate)) * (theta - start) if pull_back else 0.0
            theta = theta + rate * ascent - pull
            put(walker, theta)
        put(walker, start)
        wanted = (theta - start) * section.learning_rate / rate
        assert float((found[half].sum(0) - wanted).norm() / wanted.norm()) <= 1e-3
    assert all(torch.equal(p, kept[n]) for n, p in own.parameters(LAYERS).items())


def put(model: Model, theta: torch.Tensor) -> None:
    start = 0
    with torch.no_grad():
        for parameter in model.parameters(LAYERS).values():
            parameter.copy_(theta[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()


def test_one_step_of_many_is_the_one_step(context: Context, config: RunConfig) -> None:
    model, curvature = load_model(config), torch.ones(sum(p.numel() for p in context.model.parameters(LAYERS).values()))
    section = replace(context.config.unlearning, relative_step=0.01)
    one = Unlearning(section, 16).directions(model, context.items[[2]], curvature, True)
    walked = unlearning.many_steps(model, context.items[[2]], section, curvature, section.learning_rate / 16, True)
    assert float((walked - one).norm() / one.norm()) <= 1e-5


def test_normalised_unlearning_weighs_all_timesteps_alike(context: Context, naive) -> None:
    section = replace(context.config.unlearning, normalise_timesteps=True)
    found = unlearning.clip_gradients(context.model, context.clip("targets", 1), section, True).sum(1)
    wanted = naive("loss", True)[1][3]
    assert np.allclose(found.numpy(), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    assert not Unlearning(section, 16).has_moments


# -- duplicates, order, sharing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRADIENT)
def test_an_exact_duplicate_is_found(
    config: RunConfig, fitted: Model, items: Items, tracks, tmp_path_factory, name: str
) -> None:
    """A model that has learnt something; all layers; a clip that is a training track has that track first.

    model = load_model(config)
    curvature = torch.ones(sum(p.numel() for p in context.model.parameters(LAYERS).values()))
    """
    folder = tmp_path_factory.getbasetemp() / "fitted-cache"
    context = make_context(config, fitted, items, tracks, folder)
    section = replace(context.config.unlearning, layers="all", ascent_draws=16)
    bank = replace(context.config.bank, strata=4)
    context = replace(context, config=replace(context.config, unlearning=section, bank=bank), bank=noise_bank(bank))
    found = scores(context, name).score[2:, :16]
    places = (found > found[range(len(TARGETS)), TARGETS][:, None]).sum(1) + 1
    assert places.max() <= (2 if name in ("influence", "das") else 1), places


@pytest.mark.parametrize("name", GRADIENT)
def test_neither_order_nor_shards_matter(
    config: RunConfig, model: Model, items: Items, tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    order = [*range(0, 20, 2), *range(19, 0, -2)]
    plain = scores(make_context(config, model, items, tracks, tmp_path / "a"), name)
    monkeypatch.setattr(engine, "SHARD", 7)
    turned = scores(make_context(config, model, items, tracks, tmp_path / "b", order), name)
    scale = np.abs(plain.cells).max()
    assert np.allclose(turned.cells, plain.cells[:, order], rtol=0, atol=1e-4 * scale)
    assert np.allclose(turned.cohort, plain.cohort[:, order], rtol=0, atol=1e-4 * scale)


def test_methods_share_the_gradients_of_a_track(
    config: RunConfig, model: Model, items: Items, tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once: one visit a track. One more later: one more visit, and nothing else is computed again."""
    context, visits = make_context(config, model, items, tracks, tmp_path), []

    def counted(model, track, kinds, bank):
        visits.append(kinds)
        return of_track(model, track, kinds, bank)

    monkeypatch.setattr(engine, "of_track", counted)
    methods = [make(name, context) for name in ("unlearning", "unlearning-gram", "influence", "trak")]
    taps = [tap for method in methods for tap in method.taps(context.of(method)).values()]
    engine.gather(model, context.items, context.bank, taps, context.cache)
    assert len(visits) == 20 and {len(kinds) for kinds in visits} == {1}
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    scores(context, "dtrak")
    assert len(visits) == 40 and all(kinds[0].objective == "square" for kinds in visits[20:])
    for method in methods:
        method.scores(context.of(method), {})
    assert len(visits) == 40
    assert all(path.stat().st_mtime_ns == before[path.name] for path in tmp_path.glob("*.npz") if path.name in before)
