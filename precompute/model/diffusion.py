"""The one door to stable-audio-tools: latents, conditioning, and the loss under a given noise bank.

Tensor letters, used everywhere: B batch, C latent channels, F latent frames, D draws, N tracks, Q clips, P parameters.
Sign: a loss is to be minimised; a score is higher for a stronger influence. The network sees alpha z + sigma eps at
time t. v-objective (arXiv 2202.00512): alpha = cos(pi t / 2), sigma = sin(pi t / 2); it predicts alpha eps - sigma z.
Rectified flow (arXiv 2209.03003), and a denoiser distilled from one: alpha = 1 - t, sigma = t; it predicts eps - z.
All weights are fp32, in eval mode; nothing here uses guidance or dropout except `generate`, which uses guidance.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from precompute.common.files import hash_file
from precompute.config.run import PassSection, RunConfig
from precompute.errors import UserError
from precompute.model import hub, third_party
from precompute.model.batches import OBJECTIVES, compute_schedule
from precompute.model.batches import Items as Items
from precompute.model.batches import NoiseBank as NoiseBank
from precompute.model.batches import rectified_flow as rectified_flow
from precompute.model.batches import v_objective as v_objective
from precompute.model.clap import Clap
from precompute.model.weights import read_state

Network = Any  # a ConditionedDiffusionModelWrapper of stable-audio-tools, which has no types
LAYER_GROUPS: dict[str, Callable[[str], bool]] = {  # parameters of the transformer's layers that a step may change
    "to_kv": lambda name: ".cross_attn.to_kv." in name,
    "cross_attn": lambda name: ".cross_attn." in name,
    "self_attn": lambda name: ".self_attn." in name,
    "all": lambda name: True,
}


def check_device(name: str) -> None:
    """Raises UserError where torch has no such device, or finds none of its kind."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used here ({reason}); choose cpu") from error


def load_model(config: RunConfig, checkpoint: Path | None = None) -> Model:
    """theta_0 of a run, or another checkpoint of the same config. Raises UserError."""
    section = config.model
    clap = Path(section.clap) if section.clap else None
    weights = checkpoint or hub.find_checkpoint_file(section)
    return Model.load(hub.find_config_file(section), weights, clap, section.device, config.pass_)


class Model:
    """A text-to-music latent diffusion transformer as trained: theta_0."""

    def __init__(
        self,
        network: Network,
        config: dict[str, Any],
        clap: Clap | None,
        sha256: str,
        inputs_sha256: str = "",
        arithmetic: PassSection | None = None,
    ) -> None:
        """`sha256` is of the weights, `inputs_sha256` of all that a result depends on ("" = the weights alone)."""
        self.network: Network = network.float().eval().requires_grad_(False)
        self.clap = clap
        self.config = config  # as stable-audio-tools reads it
        self.sha256 = sha256
        self.inputs_sha256 = inputs_sha256 or sha256
        self.sample_rate = int(config["sample_rate"])  # hertz
        self.sample_size = int(config["sample_size"])  # samples of the padded waveform
        self.channels = int(config.get("audio_channels", 2))
        self.ratio = int(self.network.pretransform.downsampling_ratio)  # samples a latent frame
        self.frames = self.sample_size // self.ratio  # F
        self.latent_channels = int(self.network.io_channels)  # C
        self.frame_rate = self.sample_rate / self.ratio  # hertz
        self.device: torch.device = next(network.parameters()).device
        self.arithmetic = arithmetic or PassSection()  # how `precision.predict` runs the network
        self.objective = str(self.network.diffusion_objective)
        if self.objective not in OBJECTIVES:
            known = ", ".join(OBJECTIVES)
            raise UserError(f"model config: diffusion_objective {self.objective!r} is not supported; known are {known}")

    @classmethod
    def load(
        cls,
        config_path: Path,
        checkpoint: Path,
        clap_folder: Path | None,
        device: str = "cpu",
        arithmetic: PassSection | None = None,
    ) -> Model:
        """From a stable-audio-tools JSON config and a checkpoint (fp16 is upcast; see `weights.py`).

        Raises UserError.
        """
        for path, field in ((config_path, "config"), (checkpoint, "checkpoint")):
            if not path.is_file():
                raise UserError(f"{path}: not found; [model] {field} must name a file (see precompute/README.md)")
        from safetensors import SafetensorError

        check_device(device)
        try:
            config = json.loads(config_path.read_text())
            with hub.allow_encoders(config):
                network = third_party.create_network(config)
            network.load_state_dict(read_state(checkpoint))
        except (LookupError, AssertionError, TypeError, RuntimeError, ValueError, OSError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{checkpoint}: does not fit {config_path} ({reason})") from error
        clap = Clap.load(clap_folder, device) if clap_folder is not None else None
        sha256 = hash_file(checkpoint)
        files = [config_path, *(sorted(p for p in clap_folder.iterdir() if p.is_file()) if clap_folder else [])]
        inputs = sha256.encode() + b"".join(bytes.fromhex(hash_file(p)) for p in files)
        return cls(network.to(device), config, clap, sha256, hashlib.sha256(inputs).hexdigest(), arithmetic)

    def with_arithmetic(self, arithmetic: PassSection) -> Model:
        """This model with other settings of `[pass]`; weights and network are shared."""
        twin = copy.copy(self)
        twin.__dict__.pop("compiled", None)
        twin.arithmetic = arithmetic
        return twin

    @functools.cached_property
    def compiled(self) -> Callable[..., torch.Tensor]:
        """The transformer, compiled when it is first called: a minute or two."""
        return torch.compile(self.network.model)

    # -- audio <-> latents ---------------------------------------------------------------------------------------

    def valid_frames(self, samples: int) -> int:
        """Latent frames that hold true audio: ceil(samples / ratio), within [1, F]."""
        return min(self.frames, max(1, math.ceil(samples / self.ratio)))

    @torch.no_grad()
    def encode(self, wave: np.ndarray) -> torch.Tensor:
        """Waveform [channels, T] at `sample_rate` -> [C, F] float32: the posterior mean, so that it can be repeated."""
        padded = np.zeros((1, self.channels, self.frames * self.ratio), dtype=np.float32)
        length = min(wave.shape[-1], padded.shape[-1])
        padded[0, :, :length] = wave[:, :length]
        autoencoder = self.network.pretransform.model
        hidden = autoencoder.encode(torch.from_numpy(padded).to(self.device), skip_bottleneck=True)
        if hidden.shape[1] == 2 * self.latent_channels:  # a VAE: mean and scale
            hidden = hidden.chunk(2, dim=1)[0]
        elif autoencoder.bottleneck is not None:
            hidden = autoencoder.bottleneck.encode(hidden)
        return (hidden[0] / self.network.pretransform.scale).cpu()

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Latents [C, F] -> waveform [channels, T] float32."""
        return self.network.pretransform.decode(latents[None].to(self.device))[0].cpu().numpy()

    # -- conditioning --------------------------------------------------------------------------------------------

    @property
    def is_clap_conditioned(self) -> bool:
        """True where the prompt enters as a CLAP embedding of ours, not through the config's own conditioner."""
        return "prompt" in self.network.cross_attn_cond_ids and "prompt" not in self.network.conditioner.conditioners

    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor | None:
        """CLAP text embeddings [N, E], or None where the model has its own text conditioner."""
        if not self.is_clap_conditioned:
            return None
        return self.require_clap().text(list(prompts))

    def require_clap(self) -> Clap:
        """The CLAP of a CLAP-conditioned model. Raises UserError where none was named."""
        if self.clap is None:
            raise UserError("[model] clap: this model takes its prompt as a CLAP embedding; name the CLAP's folder")
        return self.clap

    def items(
        self,
        prompts: Sequence[str],
        seconds: Sequence[float],
        latents: torch.Tensor,
        embeddings: torch.Tensor | None = None,
        timing: torch.Tensor | None = None,
    ) -> Items:
        """Tracks or clips with their latents [N, C, F], each under its own prompt and true length.

        `embeddings` [N, E] in place of those of the prompts; `timing` as in Items.
        """
        longest = self.sample_size / self.sample_rate
        lengths = [min(s, longest) for s in seconds]
        return Items(
            latents=latents,
            valid_frames=torch.tensor([self.valid_frames(round(s * self.sample_rate)) for s in lengths]),
            seconds=torch.tensor(lengths),
            prompts=tuple(prompts),
            embeddings=self.embed_prompts(prompts) if embeddings is None else embeddings,
            timing=timing,
        )

    def condition(self, items: Items) -> dict[str, Any]:
        """Conditioning tensors of all items, batch size N."""
        rows = [
            {"prompt": prompt, "seconds_start": start, "seconds_total": total}
            for prompt, (start, total) in zip(items.prompts, items.times.tolist(), strict=True)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # T5's conditioner asks for CUDA's autocast, whatever the device
            tensors = self.network.conditioner(rows, self.device)
        if self.is_clap_conditioned:
            embeddings = self.require_clap().text(list(items.prompts)) if items.embeddings is None else items.embeddings
            prompt = embeddings[:, None].to(self.device) * math.sqrt(embeddings.shape[-1])  # near unit variance
            tensors["prompt"] = (prompt, torch.ones(prompt.shape[:2], device=self.device))
        return self.network.get_conditioning_inputs(tensors)

    # -- loss ----------------------------------------------------------------------------------------------------

    def predict(
        self,
        latents: torch.Tensor,
        condition: dict[str, Any],
        t: torch.Tensor,
        eps: torch.Tensor,
        weights: dict[str, torch.Tensor] | None = None,
        compiled: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted and true v of one latent z [C, F] under draws t [D], eps [D, C, F] -> [D, C, F] each.

        `weights`: parameters of the network by name, in place of its own (for forward-mode derivatives). `compiled`:
        by the compiled network, where its own weights are used.
        """
        z = latents.to(self.device).expand(len(t), -1, -1)
        t, eps = t.to(self.device), eps.to(self.device)
        noised, target = OBJECTIVES[self.objective](z, t, eps)
        one = {key: None if v is None else v.expand(len(t), *v.shape[1:]) for key, v in condition.items()}
        options = {"use_checkpointing": False, **one}
        if weights is None:
            network = self.compiled if compiled else self.network.model
            return network(noised, t, **options), target
        return functional_call(self.network.model, weights, (noised, t), options), target

    def frame_loss(
        self,
        latents: torch.Tensor,
        condition: dict[str, Any],
        t: torch.Tensor,
        eps: torch.Tensor,
        weights: dict[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Squared v-error of one latent under draws, as for `predict` -> [D, F], mean over channels."""
        predicted, target = self.predict(latents, condition, t, eps, weights)
        return (predicted - target).square().mean(1)

    def loss(
        self,
        latents: torch.Tensor,
        condition: dict[str, Any],
        t: torch.Tensor,
        eps: torch.Tensor,
        valid_frames: int | None = None,
    ) -> torch.Tensor:
        """Scalar loss of one latent: mean over draws and frames; over the first `valid_frames` only, where given."""
        return self.frame_loss(latents, condition, t, eps)[:, :valid_frames].mean()

    # -- parameters ----------------------------------------------------------------------------------------------

    def parameters(self, group: str) -> dict[str, nn.Parameter]:
        """The transformer layers' parameters of a layer group, in the network's order.

        Switches their gradients on, and all others off. Raises UserError.
        """
        if group not in LAYER_GROUPS:
            raise UserError(f"layers = {group!r}: choose one of {', '.join(LAYER_GROUPS)}")
        chosen = {
            name: parameter
            for name, parameter in self.network.model.named_parameters()
            if ".transformer.layers." in f".{name}" and LAYER_GROUPS[group](name)
        }
        self.network.requires_grad_(False)
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        return chosen

    # -- generation ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self, items: Items, seeds: Sequence[int], steps: int, guidance: float, sampler: str = "ddim"
    ) -> torch.Tensor:
        """Latents [N, C, F], deterministic; starting noise from each item's own seed.

        `sampler`: "ddim" (eta 0; for rectified flow that is Euler's method), or "dpmpp-2m", the second-order multistep
        solver of DPM-Solver++ (arXiv 2211.01095, algorithm 2, in data prediction). Times are spread evenly over [0, 1].
        """
        noise = torch.stack(
            [
                torch.randn(self.latent_channels, self.frames, generator=torch.Generator().manual_seed(seed))
                for seed in seeds
            ]
        )
        condition = self.condition(items)
        x = noise.to(self.device)
        earlier: tuple[torch.Tensor, float] | None = None  # prediction and step in log(alpha / sigma) before this one
        for now, then in itertools.pairwise(torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist()):
            t = torch.full((len(x),), now, device=self.device)
            v = self.network.model(x, t, cfg_scale=guidance, use_checkpointing=False, **condition)
            alpha, sigma = compute_schedule(self.objective, now)
            next_alpha, next_sigma = compute_schedule(self.objective, then)
            if self.objective == "v":
                clean, noise = alpha * x - sigma * v, sigma * x + alpha * v
            else:  # x + alpha v is the noise, x - sigma v what it covers
                clean, noise = x - sigma * v, x + alpha * v
            if sampler == "dpmpp-2m" and 0 < then < now < 1:
                step = math.log(next_alpha / next_sigma) - math.log(alpha / sigma)
                ahead = clean
                if earlier is not None:
                    ahead = clean + (clean - earlier[0]) * (step / (2 * earlier[1]))
                x = next_sigma / sigma * x + (next_alpha - next_sigma * alpha / sigma) * ahead
                earlier = clean, step
            else:  # the first and last step are of first order in either
                x = next_alpha * clean + next_sigma * noise
        return x.cpu()
