"""The methods in plain words: `python -m precompute methods`."""

from __future__ import annotations

from dataclasses import asdict, fields

from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import UnlearningSection
from precompute.methods.catalogue import CATALOGUE, find_class


def describe_methods() -> str:
    """A paragraph a method: what it is, settings with their defaults, cost, needs, moments."""
    return "\n\n".join(_describe(name) for name in CATALOGUE)


def _describe(name: str) -> str:
    method, defaults = find_class(name), METHOD_SETTINGS[name]
    section = f"[methods.{name}]" if defaults is not None else f"[{name}]"
    values = asdict(defaults) if defaults is not None else {f.name: f.default for f in fields(UnlearningSection)}
    settings = ", ".join(f"{field} = {_format_toml(value)}" for field, value in values.items())
    lines = [
        f"{name}: {method.description}",
        f"  settings {section}: {settings or 'none'}",
        f"  cost: {method.cost}",
        f"  needs: {method.needs}",
        f"  moments: {'yes' if method.has_moments else 'no'}",
    ]
    return "\n".join(lines)


def _format_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else repr(value).replace("'", '"')
