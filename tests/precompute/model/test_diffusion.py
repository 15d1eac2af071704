"""The door to stable-audio-tools: loss formula, noise bank, latents, conditioning, generation, loading, stereo."""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from precompute.config.run import UnlearningSection
from precompute.errors import UserError
from precompute.gradients.steps import UnlearningStep
from precompute.model.clap import Clap
from precompute.model.diffusion import Items, Model, NoiseBank, third_party
from precompute.train.demo import export_model
from support import tiny


def test_frame_loss_is_the_v_objective(model: Model, items: Items) -> None:
    item, generator = items[[3]], torch.Generator().manual_seed(1)
    t = torch.tensor([0.0, 0.3, 0.95])
    eps = torch.randn(3, model.latent_channels, model.frames, generator=generator)
    condition = model.condition(item)
    with torch.no_grad():
        found = model.frame_loss(item.latents[0], condition, t, eps)
        for draw in range(3):
            alpha, sigma = math.cos(math.pi * float(t[draw]) / 2), math.sin(math.pi * float(t[draw]) / 2)
            noisy = alpha * item.latents[0] + sigma * eps[draw]
            wanted = alpha * eps[draw] - sigma * item.latents[0]
            out = model.network.model(noisy[None], t[draw : draw + 1], use_checkpointing=False, **condition)[0]
            assert torch.allclose(found[draw], (out - wanted).square().mean(0), rtol=1e-4, atol=1e-6)
        assert found.shape == (3, model.frames)
        valid = model.loss(item.latents[0], condition, t, eps, valid_frames=7)
        assert float(valid) == pytest.approx(float(found[:, :7].mean()), rel=1e-6)


def test_the_network_is_in_eval_mode_and_full_precision(model: Model) -> None:
    assert not any(module.training for module in model.network.modules())
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}


def test_a_half_precision_checkpoint_is_upcast_exactly(model: Model, tiny_root: Path) -> None:
    state = load_file(str(tiny_root / "model" / "model.safetensors"))
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
    loaded = model.network.state_dict()
    assert all(torch.equal(loaded[name], value.float()) for name, value in state.items())


def test_a_larger_noise_bank_begins_with_the_smaller() -> None:
    small, large = NoiseBank(2, 4, 1, seed=9), NoiseBank(5, 4, 1, seed=9)
    assert set(small.cells()) < set(large.cells())
    for cell in small.cells():
        for one, other in zip(small.cell(*cell, (3, 5)), large.cell(*cell, (3, 5)), strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(small.cell(0, 0, (3, 5))[1], NoiseBank(2, 4, 1, seed=10).cell(0, 0, (3, 5))[1])


def test_strata_hold_their_range_of_t() -> None:
    bank = NoiseBank(8, 4, 50, seed=1)
    for replicate, stratum in bank.cells():
        t, eps = bank.cell(replicate, stratum, (2, 3))
        assert t.shape == (50,) and eps.shape == (50, 2, 3)
        assert float(t.min()) >= stratum / 4 and float(t.max()) < (stratum + 1) / 4


def test_encode_pads_with_zeros_and_then_encodes(model: Model) -> None:
    wave = tiny.tone(330, 1.0, 1)[None]
    padded = np.zeros((1, model.sample_size), np.float32)
    padded[:, : wave.shape[1]] = wave
    latents = model.encode(wave)
    assert latents.shape == (model.latent_channels, model.frames) and latents.dtype == torch.float32
    assert torch.equal(latents, model.encode(padded))
    assert torch.equal(latents, model.encode(wave))  # can be repeated
    longer = np.concatenate([padded, np.ones((1, 500), np.float32)], axis=1)
    assert torch.equal(latents, model.encode(longer))
    assert model.decode(latents).shape == (1, model.sample_size)


def test_valid_frames_round_up(model: Model) -> None:
    ratio = model.ratio
    lengths = [0, 1, ratio, ratio + 1, 10 * ratio, 10 * ratio + 1, 99 * model.sample_size]
    assert [model.valid_frames(n) for n in lengths] == [1, 1, 1, 2, 10, 11, model.frames]


def test_items_keep_own_prompt_and_length(model: Model, items: Items) -> None:
    latents = torch.zeros(2, model.latent_channels, model.frames)
    made = model.items(["a high plucked chord", "a low plucked chord"], [1.5, 99.0], latents)
    assert made.seconds.tolist() == [1.5, 2.0] and made.valid_frames.tolist() == [38, 50]  # 1.5 s at 25 Hz, rounded up
    picked = made[[1]]
    assert len(picked) == 1 and picked.prompts == ("a low plucked chord",)
    assert torch.equal(picked.embeddings[0], made.embeddings[1])
    assert made[:1].prompts == made[[0]].prompts


def test_prompts_enter_as_unit_clap_embeddings(model: Model, items: Items) -> None:
    assert model.is_clap_conditioned and isinstance(model.clap, Clap)
    embeddings = model.embed_prompts(["a high plucked chord, fast", "a low plucked chord, slow"])
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(2), atol=1e-5)
    assert not torch.allclose(embeddings[0], embeddings[1], atol=1e-3)
    condition = model.condition(items[[0]])
    token = condition["cross_attn_cond"][0, 0]
    assert torch.allclose(token, items.embeddings[0] * math.sqrt(len(token)), atol=1e-5)
    assert condition["cross_attn_cond"].shape[:2] == (1, 2)  # prompt, seconds_total


def test_clap_embeds_long_audio_by_fixed_windows(model: Model) -> None:
    clap = model.clap
    short, long = tiny.tone(330, 1.0, 1), tiny.tone(330, 5.0, 1)
    found = clap.audio([short, long])
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(found, torch.cat([clap.audio([short]), clap.audio([long])]), atol=1e-5)
    assert torch.equal(found, clap.audio([short, long]))


def test_a_clip_depends_on_its_own_seed_alone(model: Model, items: Items) -> None:
    three = model.generate(items[[0, 1, 2]], [5, 6, 7], steps=4, guidance=3.0)
    alone = model.generate(items[[1]], [6], steps=4, guidance=3.0)
    assert three.shape == (3, model.latent_channels, model.frames) and torch.isfinite(three).all()
    assert float((three[1] - alone[0]).norm() / alone.norm()) <= 1e-5
    other = model.generate(items[[1]], [8], steps=4, guidance=3.0)
    assert float((other - alone).norm() / alone.norm()) > 0.1


def test_samplers_follow_the_known_path_of_gaussian_data(
    model: Model, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data of deviation s: the probability flow takes noise x to s x exactly; the second order errs less."""
    spread = 0.3

    def exact(x: torch.Tensor, t: torch.Tensor, **rest: object) -> torch.Tensor:
        alpha, sigma = math.cos(t[0].item() * math.pi / 2), math.sin(t[0].item() * math.pi / 2)
        return alpha * sigma * (1 - spread**2) / (alpha**2 * spread**2 + sigma**2) * x

    monkeypatch.setattr(model.network.model, "forward", exact)
    noise = torch.randn(model.latent_channels, model.frames, generator=torch.Generator().manual_seed(5))

    def error(sampler: str, steps: int) -> float:
        return float((model.generate(items[[0]], [5], steps, 1.0, sampler)[0] / noise - spread).abs().max())

    assert error("ddim", 200) < 0.01 and error("dpmpp-2m", 200) < 0.001
    assert all(error("dpmpp-2m", steps) < error("ddim", steps) / 4 for steps in (20, 40, 80))


def test_generation_leaves_torch_own_random_state_alone(model: Model, items: Items) -> None:
    before = torch.get_rng_state()
    model.generate(items[[0]], [5], steps=1, guidance=1.0)
    assert torch.equal(torch.get_rng_state(), before)


# -- loading -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the trained model that a test may damage."""
    shutil.copytree(tiny_root / "model", tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path, clap: bool = True) -> Model:
    return Model.load(folder / "model_config.json", folder / "model.safetensors", folder / "clap" if clap else None)


def change_config(folder: Path, change: dict[str, object]) -> None:
    path = folder / "model_config.json"
    config = json.loads(path.read_text())
    config["model"]["diffusion"].update(change)
    path.write_text(json.dumps(config))


def damage(folder: Path, what: str) -> None:
    if what == "no config":
        (folder / "model_config.json").unlink()
    elif what == "no checkpoint":
        (folder / "model.safetensors").unlink()
    elif what == "config is not JSON":
        (folder / "model_config.json").write_text("{")
    elif what == "config lacks the model":
        (folder / "model_config.json").write_text('{"model_type": "diffusion_cond", "sample_rate": 8000}')
    elif what == "config has an unknown option":
        change_config(folder, {"config": {**tiny.MODEL["model"]["diffusion"]["config"], "depth": "two"}})
    elif what == "other depth":
        change_config(folder, {"config": {**tiny.MODEL["model"]["diffusion"]["config"], "depth": 1}})
    elif what == "other objective":
        change_config(folder, {"diffusion_objective": "eps"})
    elif what == "checkpoint cut short":
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
    elif what == "a tensor is missing":
        state = load_file(str(folder / "model.safetensors"))
        state.pop(sorted(state)[0])
        save_file(state, str(folder / "model.safetensors"))
    elif what == "no CLAP":
        shutil.rmtree(folder / "clap")
    elif what == "CLAP without weights":
        (folder / "clap" / "model.safetensors").unlink()


DAMAGES = {
    "no config": r"model_config.json: not found; \[model\] config must name a file",
    "no checkpoint": r"model.safetensors: not found; \[model\] checkpoint must name a file",
    "config is not JSON": r"model.safetensors: does not fit .*model_config.json",
    "config lacks the model": r"does not fit .*model_config.json",
    "config has an unknown option": r"does not fit .*model_config.json",
    "other depth": r"does not fit .*model_config.json",
    "other objective": r"diffusion_objective 'eps' is not supported; known are v, rectified_flow",
    "checkpoint cut short": r"does not fit .*model_config.json",
    "a tensor is missing": r"does not fit .*model_config.json",
    "no CLAP": r"clap: no CLAP here \(config.json is missing\); set \[model\] clap",
    "CLAP without weights": r"clap: this CLAP cannot be loaded",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_model_is_told_in_one_line(folder: Path, what: str) -> None:
    damage(folder, what)
    with pytest.raises(UserError, match=DAMAGES[what]) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_clap_conditioned_model_asks_for_its_clap(folder: Path) -> None:
    with pytest.raises(UserError, match=r"\[model\] clap: this model takes its prompt as a CLAP embedding"):
        load(folder, clap=False).embed_prompts(["x"])


# -- stereo, and an autoencoder with a posterior -----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["tanh", "vae"])
def stereo(request: pytest.FixtureRequest, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny model with two audio channels and random weights, exported and loaded like any other."""
    config = copy.deepcopy(tiny.MODEL)
    config["audio_channels"] = 2
    autoencoder = config["model"]["pretransform"]["config"]
    autoencoder["pretransform"]["config"]["channels"] = 2
    autoencoder["encoder"]["config"]["in_channels"] = autoencoder["decoder"]["config"]["out_channels"] = 160
    autoencoder["io_channels"] = 2
    if request.param == "vae":
        autoencoder["bottleneck"] = {"type": "vae"}
        autoencoder["encoder"]["config"]["latent_dim"] = 16  # mean and scale
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("stereo")
    export_model(third_party.create_network(config), config, folder)
    return Model.load(folder / "model_config.json", folder / "model.safetensors", tiny_root / "model" / "clap")


def test_stereo_goes_through_the_same_code(stereo: Model) -> None:
    left, right = tiny.tone(330, 1.2, 1), tiny.tone(440, 1.2, 2)
    latents = stereo.encode(np.stack([left, right]))
    assert stereo.channels == 2 and latents.shape == (8, 50)
    assert torch.equal(latents, stereo.encode(np.stack([left, right])))
    assert not torch.allclose(latents, stereo.encode(np.stack([right, left])), atol=1e-4)
    wave = stereo.decode(latents)
    assert wave.shape == (2, 16_000) and np.isfinite(wave).all()

    items = stereo.items(["a high plucked chord"] * 2, [1.2, 1.2], torch.stack([latents, latents.flip(1)]))
    section, bank = UnlearningSection(ascent_draws=2), NoiseBank(2, 2, 1, seed=4)
    torch.manual_seed(0)
    for parameter in stereo.network.model.parameters():  # the output layer starts at zero: no gradients behind it
        parameter.data += 0.02 * torch.randn_like(parameter)
    step = UnlearningStep(section, tracks=16)
    direction = step.compute_clip_gradients(stereo, items[[0]], with_windows=False).sum((0, 1))
    score = tiny.scores_of_track(stereo, items[[1]], direction[None], section, bank).mean()
    rise = step.compute_moments(stereo, items[[1]], direction, bank)
    assert float(rise.mean()) == pytest.approx(float(score), rel=1e-4) and float(score) != 0
