"""The rooms of the two packages: who may import whom, and the habits that every file keeps. Read from syntax trees.

An import inside a function counts like one at the top of a file. CONTRIBUTING.md says what each room is for.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("precompute", "explorer")

# A room may import from rooms that stand before it and, without circles, from itself. Rooms of one line are strangers.
ORDER = {
    "precompute": """
        errors
        common
        config
        model
        corpus
        significance
        clips
        gradients
        methods
        store
        resemblance
        exemplars
        pipeline
        cost
        scale
        index
        removal
        train
        evaluate
        cli
        __main__
    """,
    "explorer": """
        settings
        store
        sound
        text
        state
        listen holders methods
        report
        components
        web
        listening_sessions
        app
        server
        __main__ examples
    """,
}
MOST_PARAMETERS = 7
NO_GRADIO = ("store", "sound", "text", "state", "listen", "holders", "methods", "report")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every module of both packages, by dotted name; a package's is its __init__."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def dotted(path: Path) -> str:
    """The name that a file is imported by."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Dotted names of everything that a module imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports() -> dict[str, set[str]]:
    """By module, the modules of its own package that it imports."""
    modules, edges = trees(), defaultdict(set)
    for module, tree in modules.items():
        for name in imported_names(tree):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != module and target.split(".")[0] == module.split(".")[0]:
                edges[module].add(target)
    return edges


def room_of(module: str) -> str:
    """precompute.store.tables -> store; '' for the package itself."""
    return [*module.split("."), ""][1]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    place = {room: number for number, line in enumerate(ORDER[package].split("\n")) for room in line.split()}
    rooms = {room_of(module) for module in trees() if module.startswith(f"{package}.")}
    assert rooms == set(place)
    wrong = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        if module.startswith(f"{package}.")
        for target in targets
        if "." in target and room_of(target) != room_of(module) and place[room_of(target)] >= place[room_of(module)]
    ]
    assert not wrong


def test_no_circles_between_files_or_folders() -> None:
    assert circles(imports()) == []
    folders: dict[str, set[str]] = defaultdict(set)
    for module, targets in imports().items():
        for target in targets:
            folder, other = module.rpartition(".")[0], target.rpartition(".")[0]
            if folder != other and not (folder.startswith(f"{other}.") or other.startswith(f"{folder}.")):
                folders[folder].add(other)
    assert circles(folders) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}}) == [["a", "b", "c"]]


def test_method_modules_are_strangers_to_each_other_and_to_duckdb() -> None:
    shared = {"base", "catalogue", "run", "embeddings", "passes"}
    of_methods = {m for m in trees() if m.startswith("precompute.methods.")}
    own = {module for module in of_methods if module.rsplit(".", 1)[1] not in shared}
    assert own
    for module in own:
        assert not imports()[module] & own, module
    for module in of_methods:
        assert not any(name.split(".")[0] == "duckdb" for name in imported_names(trees()[module])), module


def test_precompute_takes_the_store_alone_from_explorer() -> None:
    for module, tree in trees().items():
        if module.startswith("precompute"):
            for name in imported_names(tree):
                assert not name.startswith("explorer") or name.startswith("explorer.store."), f"{module}: {name}"


def test_only_widgets_know_gradio() -> None:
    for module, tree in trees().items():
        if module.startswith("explorer.") and room_of(module) in NO_GRADIO:
            assert not any(name.split(".")[0] == "gradio" for name in imported_names(tree)), module


def test_class_names_are_unique() -> None:
    tests = [path for path in sorted((ROOT / "tests").rglob("*.py"))]
    every = [*trees().values(), *(ast.parse(path.read_text(encoding="utf-8")) for path in tests)]
    names = Counter(node.name for tree in every for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_functions_take_few_parameters() -> None:
    wrong = []
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = sum(parameter.arg not in ("self", "cls") for parameter in given)
                if count > MOST_PARAMETERS:
                    wrong.append(f"{module}.{node.name}: {count}")
    assert not wrong


def test_tests_mirror_the_rooms() -> None:
    for package in PACKAGES:
        rooms = {room_of(module) for module in trees() if module.startswith(f"{package}.")}
        folders = {path.name for path in (ROOT / "tests" / package).iterdir() if path.is_dir()}
        assert folders - {"golden", "__pycache__"} <= rooms
