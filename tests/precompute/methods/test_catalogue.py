"""The catalogue of methods: each has settings and a class, and is called the same by both."""

from __future__ import annotations

from precompute.config.methods import METHOD_SETTINGS
from precompute.methods.base import Method
from precompute.methods.catalogue import CATALOGUE, find_class


def test_settings_and_classes_name_the_same_methods() -> None:
    assert list(CATALOGUE) == list(METHOD_SETTINGS)
    for name in CATALOGUE:
        assert issubclass(find_class(name), Method) and find_class(name).name == name
