"""The repository as a whole: sizes, import rules, what the documents name, versions, leftovers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
SHIPPED_BYTES = 60_000_000  # data/ + assets/ together, for good
LINES = 500  # of a source file; more is two rooms
HEAVY = {
    "torch",
    "torchaudio",
    "torchvision",
    "librosa",
    "laion_clap",
    "stable_audio_tools",
    "transformers",
    "precompute",
}
TEXT = {".py", ".md", ".toml", ".txt", ".sql", ".js", ".css", ".cff", ".yml", ".yaml", ""}
FRONT_PAGE_WORDS = 1100  # of README.md, as `wc -w` counts
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"{room}/README.md" for room in ("assets", "data", "explorer", "precompute")),
)


@cache
def list_files() -> list[Path]:
    """Files that git holds, or would with the next commit."""
    process = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        pytest.skip("not a git checkout")
    return [path for name in process.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def list_sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def read_project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def list_make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def test_shipped_files_keep_their_budget():
    shipped = [path for path in list_files() if path.relative_to(ROOT).parts[0] in ("data", "assets")]
    total = sum(path.stat().st_size for path in shipped)
    assert total <= SHIPPED_BYTES, f"data/ and assets/ hold {total / 1e6:.1f} MB"


def test_top_level_holds_known_names_only():
    known = set("pyproject.toml README.md explorer precompute data tests assets .ci .gitignore".split())
    known |= set("LICENSE CHANGELOG.md CONTRIBUTING.md CITATION.cff Makefile constraints.txt".split())
    top = {path.relative_to(ROOT).parts[0] for path in list_files()}
    assert {name for name in top - known if not name.startswith(".")} == set()


def test_explorer_imports_nothing_heavy():
    for path in list_sources("explorer"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            heavy = {name.split(".")[0] for name in names} & HEAVY
            assert not heavy, f"{path.relative_to(ROOT)}, line {node.lineno}: imports {heavy}"


def test_files_stay_small():
    long = {
        str(path.relative_to(ROOT)): count
        for path in list_sources("explorer", "precompute", "tests", "data/demo", "data/tunes")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES
    }
    assert not long, f"more than {LINES} lines"


def read_document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def list_anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_front_page_is_one_page():
    assert len(read_document("README.md").split()) <= FRONT_PAGE_WORDS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documented_commands_exist(document):
    text = read_document(document)
    targets = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.M))
    assert targets <= list_make_targets(), targets - list_make_targets()
    code = "".join(path.read_text(encoding="utf-8") for path in list_sources("precompute", "explorer", "data"))
    verbs = set(re.findall(r"python -m precompute ([a-z][a-z-]+)", text))
    known = set(re.findall(r'add_parser\(\s*"([a-z-]+)"', code))
    assert verbs <= known, verbs - known
    commands = [line.split("   #")[0] for line in text.splitlines() if re.search(r"python (-m|data/)", line)]
    options = {option for line in commands for option in re.findall(r" (--[a-z-]+)", line)} - {"--help"}
    unknown = {option for option in options if f'"{option}"' not in code}
    assert not unknown


def test_every_verb_and_method_is_documented():
    from precompute.methods.catalogue import CATALOGUE

    code = "".join(path.read_text(encoding="utf-8") for path in list_sources("precompute/cli"))
    named = set(re.findall(r"`(?:evaluate )?([a-z-]+)[` ]", read_document("precompute/README.md")))
    verbs = set(re.findall(r'add_parser\(\s*"([a-z-]+)"', code))
    assert verbs | set(CATALOGUE) <= named, (verbs | set(CATALOGUE)) - named


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documented_python_runs(document, monkeypatch):
    monkeypatch.chdir(ROOT)
    for block in re.findall(r"^```python\n(.*?)^```", read_document(document), re.M | re.S):
        exec(compile(block, document, "exec"), {})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documented_files_exist(document):
    text, folder = read_document(document), (ROOT / document).parent
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        path = folder / target if target else ROOT / document
        assert path.exists(), target
        if anchor:
            assert anchor in list_anchors(path.read_text(encoding="utf-8")), f"{target}#{anchor}"
    named = set(re.findall(r"`((?:explorer|precompute|data/demo|assets|tests)/[\w./-]*(?:\.\w+|/))`", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    rooms = {
        name for line in re.findall(r"^\| (`[^|]+) \|", text, re.M) for name in re.findall(r"`([\w./-]+[/.]\w*)`", line)
    }
    assert {name for name in rooms if not (folder / name).exists()} == set()


def test_constraints_fix_every_requirement():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = [Requirement(line) for line in lines if line and not line.startswith("#")]
    by_name = {requirement.name.lower(): requirement for requirement in tested}
    assert not [r.name for r in tested if r.extras], "pip refuses extras in constraints"
    asked = [
        *read_project()["dependencies"],
        *(r for group in read_project()["optional-dependencies"].values() for r in group),
    ]
    for requirement in map(Requirement, asked):
        if requirement.marker and not requirement.marker.evaluate({"python_version": "3.11"}):
            continue
        exact = by_name.get(requirement.name.lower())
        assert exact, f"{requirement.name} is not in constraints.txt"
        for specifier in exact.specifier:
            if specifier.operator == "==":
                assert Version(specifier.version) in requirement.specifier, f"{exact} against {requirement}"


def test_constraints_of_the_explorer_leave_numpy_and_pandas_free():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    first, found, second = text.partition("\n# Part 2")
    assert found and "# Part 2" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert not re.search(r"^(numpy|pandas|torch)==", first, re.M) and re.search(r"^numpy==", second, re.M)


def test_one_version_everywhere():
    version = read_project()["version"]
    assert f'__version__ = "{version}"' in (ROOT / "explorer/__init__.py").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_leftovers():
    unfinished = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b|<<<<" r"<<<|breakpoint\(\)")
    machine = re.compile(r"(?<![\w.~])/(?:work|root|home|Users)/\w")  # a path of somebody's machine
    for path in list_files():
        if path.suffix in TEXT and path != Path(__file__) and path.stat().st_size < 1_000_000:
            text = path.read_text(encoding="utf-8")
            for number, line in enumerate(text.splitlines(), start=1):
                fault = unfinished.search(line) or machine.search(line)
                assert not fault, f"{path.relative_to(ROOT)}, line {number}: {fault and fault.group()}"


def test_make_lists_its_targets():
    process = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"make {target} " in process.stdout for target in list_make_targets())


@pytest.mark.slow
def test_wheel_holds_the_code_and_its_data(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    copy = tmp_path / "source"
    copy.mkdir()
    for path in list_files():
        if path.relative_to(ROOT).parts[0] in (
            "explorer",
            "precompute",
            "pyproject.toml",
            "README.md",
            "LICENSE",
            "tests",
        ):
            target = copy / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    subprocess.run([*command, "-w", str(tmp_path), str(copy)], check=True, timeout=300)
    with zipfile.ZipFile(next(tmp_path.glob("whence-*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    kept = {path.relative_to(ROOT).as_posix() for path in list_files()}
    assert held == {name for name in kept if name.startswith(("explorer/", "precompute/"))}
