"""Where the code of each method is; names and settings stand in `config/methods.py`. Needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from precompute.config.methods import METHOD_SETTINGS

if TYPE_CHECKING:  # they bring torch
    from precompute.config.run import RunConfig
    from precompute.methods.base import Method

CATALOGUE: dict[str, tuple[str, str]] = {  # name -> module below precompute.methods, class in it
    "unlearning": ("unlearning", "Unlearning"),  # section [unlearning]
    "unlearning-output": ("unlearning", "UnlearningOutput"),  # section [unlearning]
    "unlearning-ekfac": ("unlearning_ekfac", "UnlearningEkfac"),
    "unlearning-gram": ("unlearning_gram", "UnlearningGram"),
    "influence": ("influence", "Influence"),
    "influence-damped": ("influence", "DampedInfluence"),
    "tracin": ("tracin", "Tracin"),
    "trak": ("trak", "Trak"),
    "dtrak": ("trak", "DTrak"),
    "das": ("trak", "Das"),
    "trackstar": ("trak", "TrackStar"),
    "mucs": ("mucs", "Mucs"),
    "clap": ("clap", "ClapSimilarity"),
    "clews": ("clews", "ClewsSimilarity"),
    "patches": ("patches", "Patches"),
    "lpips": ("lpips", "Lpips"),
    "rps": ("rps", "Rps"),
    "rps-ridge": ("rps", "RpsRidge"),
    "random": ("random", "Random"),
    "ensemble": ("ensemble", "Ensemble"),
}


def find_class(name: str) -> type[Method]:
    """A method's class; its module is imported now."""
    module, class_name = CATALOGUE[name]
    return getattr(import_module(f"precompute.methods.{module}"), class_name)


def build_method(name: str, config: RunConfig, tracks: int) -> Method:
    """A method with the settings of a `RunConfig`; `tracks` is the number of training tracks."""
    settings = config.methods.settings.get(name, METHOD_SETTINGS[name])
    return find_class(name).create(settings, config, tracks)
