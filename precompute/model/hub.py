"""Where a model's files are: local, or published on the Hugging Face hub; and what its JSON config says.

Published files are taken from the local cache, else downloaded; without a network one clear line at once. They are the
two that stable-audio-tools' `get_pretrained_model` takes: model_config.json and model.safetensors (model.ckpt where
there is none). Needs no torch.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from precompute.config.run import ModelSection
from precompute.errors import UserError

SHORT = {
    "stable-audio-open-1.0": "stabilityai/stable-audio-open-1.0",
    "stable-audio-open-small": "stabilityai/stable-audio-open-small",
}
CHECKPOINTS = ("model.safetensors", "model.ckpt")
REACH_S = 3.0  # how long the hub may take to answer
TEXT_ENCODER = (("config.json",), ("model.safetensors", "pytorch_model.bin"), ("tokenizer.json", "spiece.model"))


def find_repository(name: str) -> str:
    """The repository 'owner/name' of [model] name, which may be a short name. Raises UserError."""
    if name in SHORT:
        return SHORT[name]
    if name.count("/") == 1 and all(name.split("/")):
        return name
    raise UserError(f"[model] name = {name!r}: choose one of {', '.join(SHORT)}, or give 'owner/name' of the hub")


def find_config_file(section: ModelSection) -> Path:
    """The model's JSON config, local or published. Raises UserError."""
    return Path(section.config) if section.config else fetch(find_repository(section.name), ("model_config.json",))


def find_checkpoint_file(section: ModelSection) -> Path:
    """The model's weights, local or published. Raises UserError."""
    return Path(section.checkpoint) if section.checkpoint else fetch(find_repository(section.name), CHECKPOINTS)


def read_model_config(path: Path) -> dict[str, Any]:
    """A stable-audio-tools JSON config. Raises UserError."""
    if not path.is_file():
        raise UserError(f"{path}: not found; [model] config must name a file (see precompute/README.md)")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        compute_window_s(config)
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{path}: is not a config of a latent diffusion model of stable-audio-tools ({error})"
        ) from error
    return config


def compute_window_s(model_config: dict[str, Any]) -> float:
    """The length that a model hears at once, in seconds: whole latent frames of its sample_size."""
    ratio = int(model_config["model"]["pretransform"]["config"]["downsampling_ratio"])
    return int(model_config["sample_size"]) // ratio * ratio / int(model_config["sample_rate"])


def find_cached(repo: str, names: tuple[str, ...]) -> Path | None:
    """The first of these files of a repository that is on this machine; None where it has none of them."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        path = try_to_load_from_cache(repo, name)
        if isinstance(path, str):
            return Path(path)
    return None


def fetch(repo: str, names: tuple[str, ...]) -> Path:
    """The first of these files that a repository has: from this machine, else downloaded. Raises UserError."""
    cached = find_cached(repo, names)
    if cached is not None:
        return cached
    require_network(repo, names[0])
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    for name in names:
        try:
            print(f"  {repo}: fetching {name}", flush=True)
            return Path(hf_hub_download(repo, name, etag_timeout=REACH_S))
        except GatedRepoError as error:
            raise UserError(
                f"{repo}: accept its licence first, at https://huggingface.co/{repo}, and log in with `hf auth login`"
            ) from error
        except RepositoryNotFoundError as error:
            raise UserError(f"{repo}: the hub has no such model, or not for you; see [model] name") from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            raise UserError(f"{repo}: {name} could not be fetched ({str(error).splitlines()[0]})") from error
    raise UserError(f"{repo}: it holds no {' or '.join(names)}; is it a model of stable-audio-tools?")


def require_network(repo: str, name: str) -> None:
    """Raises UserError where the hub does not answer within REACH_S."""
    if not is_reachable():
        raise UserError(
            f"{repo}: {name} is not on this machine and the hub does not answer; "
            f"run `hf download {repo}` where there is a network, or name local files"
        )


def is_reachable() -> bool:
    """True where the hub answers; False at once where HF_HUB_OFFLINE is set."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=REACH_S)
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return False
    return True


def list_text_encoders(model_config: dict[str, Any]) -> list[str]:
    """Repositories of the T5 encoders that a model's conditioner loads from the hub."""
    conditioners = model_config["model"].get("conditioning", {}).get("configs", [])
    return [c.get("config", {}).get("t5_model_name", "t5-base") for c in conditioners if c.get("type") == "t5"]


def list_missing_encoders(model_config: dict[str, Any]) -> list[str]:
    """The text encoders of a model of which a file is not on this machine."""
    return [
        repo for repo in list_text_encoders(model_config) if not all(find_cached(repo, names) for names in TEXT_ENCODER)
    ]


@contextlib.contextmanager
def allow_encoders(model_config: dict[str, Any]) -> Iterator[None]:
    """Within it, a model's conditioner may load its text encoders; offline where all of them are on this machine.

    Raises UserError where one must be downloaded and the hub does not answer.
    """
    missing = list_missing_encoders(model_config)
    if missing:
        require_network(missing[0], "the text encoder of this model")
        yield
        return
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
