"""The list of methods: names, settings, and where the code is. No torch here: a mistake in a config is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from precompute.config import methods as settings
from precompute.config import methods_compare


@dataclass(frozen=True)
class Entry:
    """Where a method is. Two names may share a class: variants by other default settings."""

    module: str  # below precompute.methods
    kind: str  # name of its class
    settings: Any  # a settings object with the defaults; None where they stand in a section of their own


CATALOGUE: dict[str, Entry] = {
    "unlearning": Entry("unlearning", "Unlearning", None),  # section [unlearning]
    "unlearning-ekfac": Entry("unlearning_ekfac", "UnlearningEkfac", settings.EkfacSettings()),
    "unlearning-gram": Entry("unlearning_gram", "UnlearningGram", settings.GramSettings()),
    "influence": Entry("influence", "Influence", settings.InfluenceSettings()),
    "influence-damped": Entry("influence", "DampedInfluence", settings.InfluenceSettings(damping=1.0)),
    "tracin": Entry("tracin", "Tracin", settings.TracinSettings()),
    "trak": Entry("trak", "Trak", settings.TrakSettings()),
    "dtrak": Entry("trak", "DTrak", settings.TrakSettings()),
    "das": Entry("trak", "Das", settings.DasSettings()),
    "mucs": Entry("mucs", "Mucs", methods_compare.MucsSettings()),
    "clap": Entry("clap", "ClapSimilarity", methods_compare.ClapSettings()),
    "clews": Entry("clews", "ClewsSimilarity", methods_compare.ClewsSettings()),
    "lpips": Entry("lpips", "Lpips", methods_compare.LpipsSettings()),
    "rps": Entry("rps", "Rps", methods_compare.RpsSettings()),
    "rps-ridge": Entry("rps", "RpsRidge", methods_compare.RpsRidgeSettings()),
    "random": Entry("random", "Random", settings.RandomSettings()),
    "ensemble": Entry("ensemble", "Ensemble", settings.EnsembleSettings()),
}


def method_class(name: str) -> Any:
    """Its class, a subclass of `base.Method`; imported now."""
    entry = CATALOGUE[name]
    return getattr(import_module(f"precompute.methods.{entry.module}"), entry.kind)


def build(name: str, config: Any, tracks: int) -> Any:
    """A `base.Method` with the settings of a `RunConfig`; `tracks` is the number of training tracks."""
    settings = config.methods.settings.get(name, CATALOGUE[name].settings)
    return method_class(name).create(settings, config, tracks)
