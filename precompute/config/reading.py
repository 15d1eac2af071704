"""TOML -> frozen dataclasses. Names and types of fields are checked here, values by the classes themselves.

Every mistake is one line: file, section, field, value, and what to do. Numbers keep the type that they are written in
(4 for a float stays 4), so that stored settings and fingerprints say what the file says.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, overload

from precompute.errors import UserError, need

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Settings = TypeVar("Settings")
LATER = {"later": True}  # metadata of a field that came after its class: at its default, older results stay valid


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and content of a TOML file. Raises UserError."""
    try:
        return (text := path.read_text(encoding="utf-8")), tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: is not valid TOML ({error})") from error


@contextlib.contextmanager
def name_place(place: str) -> Iterator[None]:
    """Put a place, such as a section in brackets, before the message of a UserError that is raised within."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place} {error}") from error


def name_file(path: Path) -> contextlib.AbstractContextManager[None]:
    """Put the file's name before the message of a UserError that is raised within."""
    return name_place(f"{path}:")


@overload
def read_settings(defaults: type[Settings], table: Any, section: str = ..., root: Path | None = ...) -> Settings: ...
@overload
def read_settings(defaults: Settings, table: Any, section: str = ..., root: Path | None = ...) -> Settings: ...
def read_settings(defaults: Any, table: Any, section: str = "", root: Path | None = None) -> Any:
    """A dataclass from a TOML table; fields that are dataclasses are sections of it. Raises UserError.

    `defaults`: the class, or an object of it whose values hold where the table has none. `section`: the table's name,
    empty at the top of a file. Paths are relative to `root`.
    """
    need(isinstance(table, dict), f"[{section}] must be a section")
    prefix = f"[{section}] " if section else ""
    kind: Any = defaults if isinstance(defaults, type) else type(defaults)
    known, types = {field.name: field for field in fields(kind)}, get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in table.items():
        need(name in known, f"{prefix}{name}: unknown field; known are {', '.join(known)}")
        if is_dataclass(types[name]):
            values[name] = read_settings(types[name], value, name, root)
        else:
            values[name] = _check_type(f"{prefix}{name}", types[name], value, root)
    if not isinstance(defaults, type):
        return replace(defaults, **values)
    missing = [name for name, field in known.items() if name not in values and _is_required(field)]
    need(not missing, f"{prefix}{', '.join(missing)}: missing")
    return kind(**values)


def list_values(settings: Any) -> dict[str, Any]:
    """Fields and values of a dataclass, also of those in it, without LATER fields that have their default.

    So a setting that is new leaves the names of all results as they were until somebody sets it.
    """
    values = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if not (field.metadata.get("later") and value == field.default):
            values[field.name] = _list_nested(value)
    return values


def _list_nested(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _list_nested(item) for key, item in value.items()}
    return list_values(value) if is_dataclass(value) else value


def _is_required(field: Field[Any]) -> bool:
    return field.init and field.default is MISSING and field.default_factory is MISSING


def _check_type(place: str, kind: Any, value: Any, root: Path | None) -> Any:
    """The value, a list as a tuple and a path below `root`. Raises UserError where it is of another type."""
    if kind is Path:
        return (root or Path()) / _check_type(place, str, value, root)
    if get_origin(kind) is tuple:
        (item,) = {*get_args(kind)} - {...}
        good = isinstance(value, list) and all(_is_of(item, one) for one in value)
        need(good, f"{place} = {value!r}: must be a list of {'texts' if item is str else 'numbers'}")
        return tuple(value)
    need(_is_of(kind, value), f"{place} = {value!r}: must be of type {kind.__name__}")
    return value


def _is_of(kind: type, value: Any) -> bool:
    return isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
