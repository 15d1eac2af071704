"""Where the code of each method is; names and settings stand in `config/methods.py`. Needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from precompute.config.methods import METHOD_SETTINGS

CATALOGUE: dict[str, tuple[str, str]] = {  # name -> module below precompute.methods, class in it
    "unlearning": ("unlearning", "Unlearning"),  # section [unlearning]
    "unlearning-ekfac": ("unlearning_ekfac", "UnlearningEkfac"),
    "unlearning-gram": ("unlearning_gram", "UnlearningGram"),
    "influence": ("influence", "Influence"),
    "influence-damped": ("influence", "DampedInfluence"),
    "tracin": ("tracin", "Tracin"),
    "trak": ("trak", "Trak"),
    "dtrak": ("trak", "DTrak"),
    "das": ("trak", "Das"),
    "mucs": ("mucs", "Mucs"),
    "clap": ("clap", "ClapSimilarity"),
    "clews": ("clews", "ClewsSimilarity"),
    "lpips": ("lpips", "Lpips"),
    "rps": ("rps", "Rps"),
    "rps-ridge": ("rps", "RpsRidge"),
    "random": ("random", "Random"),
    "ensemble": ("ensemble", "Ensemble"),
}


def method_class(name: str) -> Any:
    """Its class, a subclass of `base.Method`; imported now."""
    module, kind = CATALOGUE[name]
    return getattr(import_module(f"precompute.methods.{module}"), kind)


def build(name: str, config: Any, tracks: int) -> Any:
    """A `base.Method` with the settings of a `RunConfig`; `tracks` is the number of training tracks."""
    settings = config.methods.settings.get(name, METHOD_SETTINGS[name])
    return method_class(name).create(settings, config, tracks)
