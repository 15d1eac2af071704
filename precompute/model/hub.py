"""Published models by name: files from the local hub cache, else downloaded; without a network one clear line at once.

No torch here. The same two files that stable-audio-tools' `get_pretrained_model` takes: model_config.json and
model.safetensors (model.ckpt where there is none).
"""

from __future__ import annotations

import contextlib
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


def repository(name: str) -> str:
    """'owner/name' of a short name. Raises UserError."""
    if name in SHORT:
        return SHORT[name]
    if name.count("/") == 1 and all(name.split("/")):
        return name
    raise UserError(f"[model] name = {name!r}: choose one of {', '.join(SHORT)}, or give 'owner/name' of the hub")


def config_file(section: ModelSection) -> Path:
    """The model's JSON config, local or published. Raises UserError."""
    return Path(section.config) if section.config else fetch(repository(section.name), ("model_config.json",))


def checkpoint_file(section: ModelSection) -> Path:
    """The model's weights, local or published. Raises UserError."""
    return Path(section.checkpoint) if section.checkpoint else fetch(repository(section.name), CHECKPOINTS)


def cached(repo: str, names: tuple[str, ...]) -> Path | None:
    """The first of these files of a repository that is on this machine."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        found = try_to_load_from_cache(repo, name)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch(repo: str, names: tuple[str, ...]) -> Path:
    """One of these files, the first that there is: from this machine, else downloaded. Raises UserError."""
    here = cached(repo, names)
    if here is not None:
        return here
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
    if not reachable():
        raise UserError(
            f"{repo}: {name} is not on this machine and the hub does not answer; "
            f"run `hf download {repo}` where there is a network, or name local files"
        )


def reachable() -> bool:
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


def text_encoders(model_config: dict[str, Any]) -> list[str]:
    """Repositories of the T5 encoders that a model's conditioner loads from the hub."""
    conditioners = model_config["model"].get("conditioning", {}).get("configs", [])
    return [c.get("config", {}).get("t5_model_name", "t5-base") for c in conditioners if c.get("type") == "t5"]


def missing_encoders(model_config: dict[str, Any]) -> list[str]:
    """Those of them that are not, or not wholly, on this machine."""
    return [repo for repo in text_encoders(model_config) if not all(cached(repo, names) for names in TEXT_ENCODER)]


@contextlib.contextmanager
def encoders_at_hand(model_config: dict[str, Any]) -> Iterator[None]:
    """Within it, a model's conditioner may load its text encoder. Raises UserError where that would need a network
    that is not there; where all is on this machine, nobody is asked.
    """
    missing = missing_encoders(model_config)
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
