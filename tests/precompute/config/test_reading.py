"""Tables become dataclasses; every mistake is one line that names its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from precompute.config.reading import name_file, read_settings
from precompute.config.run import MethodsSection
from precompute.errors import UserError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    folder: Path
    seed: int
    inner: Inner = field(default_factory=Inner)


def test_sections_paths_and_lists_are_read() -> None:
    table = {"folder": "x", "seed": 3, "inner": {"rate": 4, "sizes": [1, 2]}}
    assert read_settings(Outer, table, root=Path("/r")) == Outer(Path("/r/x"), 3, Inner(4, (1, 2)))
    assert read_settings(Outer, {"folder": "x", "seed": 3}) == Outer(Path("x"), 3)
    assert isinstance(read_settings(Outer, table).inner.rate, int)  # stored settings say what the file says


def test_an_object_gives_the_defaults() -> None:
    assert read_settings(Inner(0.25, (7,)), {"rate": 1.5}) == Inner(1.5, (7,))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"folder": "x"}, "file: seed: missing"),
        ({"folder": "x", "seed": 1.5}, "file: seed = 1.5: must be of type int"),
        ({"folder": 1, "seed": 1}, "file: folder = 1: must be of type str"),
        ({"folder": "x", "seed": 1, "inner": 2}, r"file: \[inner\] must be a section"),
        ({"folder": "x", "seed": 1, "inner": {"rat": 2}}, r"file: \[inner\] rat: unknown field; known are rate, sizes"),
        (
            {"folder": "x", "seed": 1, "inner": {"sizes": [1, True]}},
            r"file: \[inner\] sizes = .*: must be a list of numb",
        ),
    ],
)
def test_mistakes_name_file_section_and_field(table: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"), name_file(Path("file")):
        read_settings(Outer, table)


@pytest.mark.parametrize(
    ("method", "field_name", "value"),
    [("trak", "width", 0), ("dtrak", "width", 0), ("das", "width", 0), ("influence-damped", "damping", -1.0)],
)
def test_methods_that_share_a_class_name_their_own_section(method: str, field_name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^\[methods\.{method}\] {field_name} = {value}: must be "):
        MethodsSection.read({method: {field_name: value}})
