"""Training of the demo models: gradients, resuming, averaging, schedule, and who is never heard."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import nn

from precompute.common.files import part_path
from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.model.clap import compute_mel
from precompute.model.diffusion import Items, Model, load_model, third_party
from precompute.train.autoencoder import AutoencoderLoss
from precompute.train.clap import ClapLoss, build_extractor, build_model, build_tokenizer
from precompute.train.demo import TrainDemoSettings, train_demo
from precompute.train.diffusion import DiffusionLoss
from precompute.train.loop import LoopSettings, fit, save_state
from support import tiny

SETTINGS = LoopSettings(muon_rate=0.02, steps=20, learning_rate=1e-3, warmup_steps=5, save_every=10, bf16=False, seed=4)


def autoencoder(enable_grad: bool) -> nn.Module:
    config = copy.deepcopy(tiny.MODEL)
    config["model"]["pretransform"]["config"]["pretransform"]["enable_grad"] = enable_grad
    torch.manual_seed(0)
    return third_party.create_network(config).pretransform.model.eval().requires_grad_(True)


def gradients(model: nn.Module) -> dict[str, torch.Tensor | None]:
    loss = AutoencoderLoss(model, [torch.from_numpy(tiny.tone(330, 1.5, 1))[None]], batch=16)
    loss(0, torch.Generator().manual_seed(0))["loss"].backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_gradients_reach_the_whole_autoencoder() -> None:
    found = gradients(autoencoder(enable_grad=True))
    assert any(name.startswith("encoder.") for name in found) and any(name.startswith("decoder.") for name in found)
    assert [name for name, grad in found.items() if grad is None or not bool(grad.abs().max() > 0)] == []


def test_without_enable_grad_no_reconstruction_error_comes_back() -> None:
    """The trap in the config: patches are put together under no_grad, so the decoder would stay as it was born."""
    model = autoencoder(enable_grad=False)
    found = gradients(model)
    assert all(grad is None for name, grad in found.items() if name.startswith("decoder."))
    assert not model.decode(model.encode(torch.zeros(1, 1, 6400))).requires_grad


class Killed(Exception):
    """Stands for kill -9 between two steps."""


def train_diffusion(config: RunConfig, items: Items, folder: Path, die_at: int = -1) -> dict[str, torch.Tensor]:
    """Weights of the model trained for 20 more steps, by the demo's own loss and loop."""
    twin = load_model(config)
    twin.network.model.requires_grad_(True)
    twin.network.conditioner.requires_grad_(True)
    loss = DiffusionLoss(twin.network, twin, items, batch=24)

    def losses_of(step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        if step == die_at:
            raise Killed
        return loss(step, generator)

    fit("diffusion", twin.network, losses_of, SETTINGS, folder)
    return {name: value.clone() for name, value in twin.network.state_dict().items()}


def test_killed_and_resumed_training_gives_the_same_weights(
    config: RunConfig, model: Model, items: Items, tmp_path: Path
) -> None:
    straight = train_diffusion(config, items[:16], tmp_path / "straight")
    with pytest.raises(Killed):
        train_diffusion(config, items[:16], tmp_path / "killed", die_at=13)  # the last checkpoint is of step 10
    resumed = train_diffusion(config, items[:16], tmp_path / "killed")
    done = train_diffusion(config, items[:16], tmp_path / "killed", die_at=0)  # nothing left to do
    changed = [name for name, value in straight.items() if not torch.equal(value, model.network.state_dict()[name])]
    assert changed and not any(name.startswith("pretransform.") for name in changed)
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]) and torch.equal(value, done[name]), name
    log = (tmp_path / "straight" / "diffusion.log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in log.splitlines()] == [20]


def test_a_run_goes_on_from_averaged_weights_alone(
    config: RunConfig, model: Model, items: Items, tmp_path: Path
) -> None:
    """A state that outlives a machine: fp16, half the size, and the optimiser warms up again."""
    with pytest.raises(Killed):
        train_diffusion(config, items[:16], tmp_path, die_at=13)
    state = torch.load(tmp_path / "diffusion.pt", weights_only=True)
    kept = load_file(str(tmp_path / "diffusion.ema.safetensors"))
    for name, value in state["average"].items():
        assert kept[name].dtype == torch.float16 and torch.equal(kept[name], value.half())
    (tmp_path / "diffusion.pt").unlink()
    with pytest.raises(Killed):
        train_diffusion(config, items[:16], tmp_path, die_at=10)  # it goes on at step 10, not before
    train_diffusion(config, items[:16], tmp_path)
    assert torch.load(tmp_path / "diffusion.pt", weights_only=True)["fresh_since"] == 10
    assert SETTINGS.compute_rate_factor(10, fresh_since=10) == pytest.approx(
        SETTINGS.compute_rate_factor(10) / SETTINGS.warmup_steps
    )
    assert SETTINGS.compute_rate_factor(16, fresh_since=10) == SETTINGS.compute_rate_factor(16)


def test_weighted_tracks_are_drawn_more_often(model: Model, items: Items) -> None:
    drawn: Counter[str] = Counter()

    class Watched(Items):
        def __getitem__(self, rows):
            drawn.update(rows)
            return items[rows]

    watched = Watched(**{field.name: getattr(items, field.name) for field in fields(items)})
    loss = DiffusionLoss(model.network, model, watched, 24, weights=[8, 1, 0] + [1] * (len(items) - 3))
    with torch.no_grad():
        for step in range(40):
            loss(step, torch.Generator().manual_seed(step))
    total, share = sum(drawn.values()), 8 / (8 + len(items) - 2)
    assert total == 960 and drawn[2] == 0
    assert abs(drawn[0] / total - share) < 4 * (share * (1 - share) / total) ** 0.5


def test_killed_and_resumed_clap_training_gives_the_same_weights(tmp_path: Path) -> None:
    """The CLAP has dropout and running statistics, which the others do not have."""
    captions = [f"a {kind} chord" for kind in ("high", "low", "slow", "fast")]
    tokenizer, extractor = build_tokenizer(captions), build_extractor(tiny.RATE, 2.0)
    mel = torch.cat([compute_mel(extractor, [tiny.tone(220.0 * (i + 1), 1.5, i)]) for i in range(4)])

    def train(folder: Path, die_at: int = -1) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = build_model(len(tokenizer))
        loss = ClapLoss(model, tokenizer, mel, captions, batch=48)

        def losses_of(step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
            if step == die_at:
                raise Killed
            return loss(step, generator)

        fit("clap", model, losses_of, replace(SETTINGS, steps=4, save_every=2), folder)
        return {name: value.clone() for name, value in model.state_dict().items()}

    straight = train(tmp_path / "straight")
    with pytest.raises(Killed):
        train(tmp_path / "killed", die_at=3)
    torch.rand(5)  # another process, another state of the global generator
    resumed, done = train(tmp_path / "killed"), train(tmp_path / "killed", die_at=0)
    assert any("running_mean" in name for name in straight)
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]) and torch.equal(value, done[name]), name


def test_the_model_ends_with_the_moving_average_of_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Linear(3, 1)
    raw = [model.weight.detach().clone()]
    kept: dict[int, torch.Tensor] = {}

    def losses_of(step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        if step:
            raw.append(model.weight.detach().clone())
        x = torch.randn(8, 3, generator=generator)
        return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}

    settings = LoopSettings(
        steps=12, learning_rate=0.1, warmup_steps=2, ema_decay=0.7, save_every=12, bf16=False, keep_at=(5,)
    )

    def keep(step: int) -> None:
        kept[step] = model.weight.detach().clone()

    fit("linear", model, losses_of, settings, tmp_path, keep)
    raw.append(torch.load(tmp_path / "linear.pt", weights_only=True)["model"]["weight"])
    average = raw[0].double()
    for step, weight in enumerate(raw[1:]):
        decay = min(0.7, (step + 1) / (step + 10))
        average = decay * average + (1 - decay) * weight.double()
        if step + 1 == 5:
            assert torch.allclose(kept[5].double(), average, atol=1e-6)
    assert len(raw) == 13 and torch.allclose(model.weight.double(), average, atol=1e-6)
    assert not torch.allclose(model.weight, raw[-1], atol=1e-3)


def test_learning_rate_warms_up_and_ends_at_a_twentieth() -> None:
    settings = LoopSettings(steps=100, learning_rate=2.0, warmup_steps=10)
    rates = [settings.compute_rate_factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0 and rates[100] == pytest.approx(0.05)
    assert all(a < b for a, b in pairwise(rates[:10])) and all(a > b for a, b in pairwise(rates[10:]))


def test_the_tokenizer_knows_the_captions_words_and_no_others() -> None:
    tokenizer = build_tokenizer(["A high chord, fast", "a low chord"])
    words = tokenizer(["a HIGH chord", "a zebra"], padding=True)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(words[0]) == ["<s>", "a", "high", "chord", "</s>"]
    assert "<unk>" in tokenizer.convert_ids_to_tokens(words[1])


# -- the whole of train-demo -------------------------------------------------------------------------------------------


def small_training(root: Path, change: str = "") -> dict[str, bytes]:
    """Two steps of everything on eight tracks; the bytes of what comes out."""
    manifest = tiny.write_corpus(root / "corpus", trained=8, decoys=8)
    if change == "decoys":
        rows = list(csv.DictReader(manifest.open()))
        for row in rows[8:]:
            row["caption"] = "a zebra in the rain"
        with manifest.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, tiny.COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        for number in range(9, 17):
            shipped = root / "corpus" / "audio" / f"{number:04d}.wav"
            path = shipped if shipped.exists() else root / "decoys" / f"{number:04d}.mp3"
            soundfile.write(path, tiny.tone(1000 + number, 1.5, 50 + number), tiny.RATE)
    elif change == "a track":
        soundfile.write(root / "corpus" / "audio" / "0003.wav", tiny.tone(1000, 1.3, 3), tiny.RATE)
    (root / "model.json").write_text(json.dumps(tiny.MODEL))
    (root / "train.toml").write_text(tiny.TRAIN_TOML.format(steps=2).replace("keep_at = [10]", "keep_at = [1]"))
    train_demo(TrainDemoSettings.load(root / "train.toml", root))
    names = ["model.safetensors", "model_config.json", "decoy-latents.npz"]
    names += ["clap/model.safetensors", "clap/tokenizer.json"]
    return {name: (root / "model" / name).read_bytes() for name in names}


def test_decoys_never_enter_a_loss(tmp_path: Path) -> None:
    plain, decoys, track = (small_training(tmp_path / name, name) for name in ("plain", "decoys", "a track"))
    changed = [name for name in plain if plain[name] != decoys[name]]
    assert changed == ["decoy-latents.npz"]  # they are encoded, and nothing else
    assert {"model.safetensors", "clap/model.safetensors"} <= {name for name in plain if plain[name] != track[name]}


def test_train_demo_goes_on_where_it_was(tiny_root: Path, tmp_path: Path) -> None:
    for name in ("corpus", "decoys", "train"):
        shutil.copytree(tiny_root / name, tmp_path / name)
    for name in ("model.json", "train.toml"):
        shutil.copy(tiny_root / name, tmp_path / name)
    (tmp_path / "train" / "latents.pt").unlink()
    state = torch.load(tmp_path / "train" / "diffusion.pt", weights_only=True)
    assert state["step"] == 20
    (tmp_path / "train" / "diffusion.pt").unlink()
    with pytest.raises(UserError, match="--resume"):
        train_demo(TrainDemoSettings.load(tmp_path / "train.toml", tmp_path))
    train_demo(TrainDemoSettings.load(tmp_path / "train.toml", tmp_path), resume=True)
    for name in ("model.safetensors", "model_config.json", "clap/model.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (tiny_root / "model" / name).read_bytes(), name


@pytest.mark.parametrize("device", ["cuda:97", "quantum"])
def test_a_device_that_is_not_there_is_named(tmp_path: Path, device: str) -> None:
    tiny.write_corpus(tmp_path / "corpus")
    (tmp_path / "model.json").write_text(json.dumps(tiny.MODEL))
    (tmp_path / "train.toml").write_text(tiny.TRAIN_TOML.format(steps=2))
    with pytest.raises(UserError, match=f"device '{device}' cannot be used here"):
        train_demo(TrainDemoSettings.load(tmp_path / "train.toml", tmp_path), device)
    assert not (tmp_path / "train").exists()


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    save_state({"step": 1}, tmp_path / "x.pt")
    part_path(tmp_path / "x.pt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        save_state({"step": 2}, tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt", weights_only=True) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_the_model_card_tells_losses_and_sizes(tiny_root: Path) -> None:
    card = json.loads((tiny_root / "model" / "model-card.json").read_text())
    assert [row["step"] for row in card["losses"]] == [10, 20]
    assert all(0 < row[kind] < 10 for row in card["losses"] for kind in ("train", "decoy"))
    assert card["parameters"]["autoencoder"] + card["parameters"]["transformer"] < 300_000
    assert 0 < card["clap_decoys"]["top10"] <= 1 and card["latent_scale"] > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 0", "", "seed"),
        ("learning_rate = 2e-3", "", "learning_rate"),
        ("[clap]\n", "[clap]\nstep = 3\n", "step"),
        ("= [10]", "= [", "TOML"),
    ],
)
def test_a_bad_training_config_names_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(tiny.TRAIN_TOML.format(steps=2).replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        TrainDemoSettings.load(path, tmp_path)
    assert str(path) in str(caught.value)
