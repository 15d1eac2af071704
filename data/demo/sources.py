"""Rights filter: the music of music21's corpus that may be used here, and why.

A file is used only if (1) its collection is on the allow-list below, and (2) the rights lines found in the
file itself claim nothing that restricts use. `judge` decides (2) and is a pure function of text, so tests
need no music21. Nothing here imports it: the corpus is found on disk through importlib.
"""

from __future__ import annotations

import importlib.util
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CORPUS_LICENCE = 'music21 corpus/license.txt: "distributed with the permission of the encoders"'
NO_CLAIM = "no rights claimed in the file (note-for-note transcription of a public-domain print)"
NO_CLAIM_SCORE = "no rights claimed in the file (encoding of a public-domain work; its edition is not named)"

# First match wins. Restrictions come before dedications: "public domain, all rights reserved" is refused.
RULES: tuple[tuple[str, bool, str], ...] = (
    (r"reserved", False, "rights reserved"),
    (r"\bl?gpl\b|general public licen", False, "GPL"),
    (r"non[\s-]*commercial|\bby[\s-]nc\b|not for commercial", False, "non-commercial"),
    (r"share[\s-]*alike|\bby[\s-]sa\b", False, "share-alike"),
    (r"no[\s-]*deriv|\bby[\s-](?:nc[\s-])?nd\b", False, "no derivatives"),
    (r"permission|(?:personal|private|educational|research) use", False, "used by permission or limited use"),
    (r"public[\s-]domain|\bcc[\s-]?0\b|\bcc zero\b", True, "public domain or CC0"),
    (r"\bcc[\s-]by\b|creative commons attribution", True, "CC BY"),
    (r"creative commons|licen[cs]e", False, "unclear licence"),
    (r"©|℗|copyright|\(c\)\s*\d{4}", False, "copyright claimed"),
)

# Collections that may be read, with the print that puts the composition in the public domain.
ALLOWED: dict[str, str] = {
    "ryansMammoth": "Ryan's Mammoth Collection, Boston 1883",
    "oneills1850": "O'Neill's Music of Ireland, Chicago 1903",
    "airdsAirs": "Aird's Selection of Airs, Glasgow 1782-1801",
    "miscFolk": "Northumbrian Minstrelsy, Newcastle 1882 (that file only)",
    "beethoven": "composer died 1827",
    "haydn": "composer died 1809",
    "mozart": "composer died 1791",
    "schumann_robert": "composer died 1856",
    "weber": "composer died 1826",
    "corelli": "composer died 1713",
    "handel": "composer died 1759",
    "leadSheet": "each file's own print date",
    "liliuokalani": "composer died 1917, printed 1884",
}

# Why the better known of the other collections are left out; whatever is in neither table is refused as well.
REFUSED: dict[str, str] = {
    "bach": "reserved rights and © notices in the collection",
    "monteverdi": "after a modern edition",
    "palestrina": "no commercial use",
    "josquin": "GPL",
    "essenFolksong": "non-commercial",
    "trecento": "after a modern edition",
    "joplin": "third-party score without a licence line",
    "schumann_clara": "CC BY-SA",
    "beach": "CC BY-SA",
    "luca": "CC BY-SA",
    "schoenberg": "composer died less than 100 years ago",
    "webern": "composer died less than 100 years ago",
    "johnson_j_r": "composer died less than 100 years ago",
    "schubert": "copyright sign without a holder",
    "verdi": "modern adaptation",
    "demos": "test material",
    "theoryExercises": "test material",
}

# Single files inside allowed collections that are not used, whatever their rights lines say.
REFUSED_FILES: dict[str, str] = {
    "miscFolk/americanfifeopus.abc": "print not named, so not plainly public domain",
    "leadSheet/berlinAlexandersRagtime.mxl": "rights reserved",
}

# Not quoted in public: transcribers' e-mail addresses and web hosts.
ADDRESS = re.compile(r"[<(]?\S*[@:/]*\S+\.(?:com|net|org|edu|uk|nl|dk|no|nu|ca|rcn)\b\S*|<[^>]*>|\S+@\S+", re.I)

# Titles that a public demo should not repeat (prints of 1782-1883 hold slurs and bawdy).
UNFIT = re.compile(
    r"\b(nig|darke?y|darkie|coon\b|sambo|squaw|negro|ethiopia|minstrel|plantation|gips|gyps|jew\b|jews\b|hottentot|"
    r"uncle tom|kentucky|wade hampton|bum\b|whore|bitch|arse|piss|"
    r"maidenhead|cuckold|savage|black\b|blackamoor|turk|zulu|mulatto|virginny|dixie|"
    r"bastard|naked|kiss my)",
    re.I,
)


# A tune that came by another route than the print is not used.
SECOND_HAND = re.compile(r"fiddler.?s companion|thesession|recording|as played by", re.I)


@dataclass(frozen=True)
class RightsVerdict:
    """Outcome of reading a file's rights lines."""

    allowed: bool
    reason: str  # a rule's name, or "no claim"


@dataclass(frozen=True)
class Tune:
    """One ABC tune: its text and what the demo needs to know before parsing it."""

    collection: str  # folder name in music21's corpus
    file: str  # path inside the corpus, posix
    number: str  # the X: field
    titles: tuple[str, ...]
    kind: str  # lower-case R: field, "" if none
    text: str
    evidence: str  # quoted transcriber and rights lines


def judge(lines: str | list[str]) -> RightsVerdict:
    """Reads rights lines and says whether the file may be used; no lines: nothing is claimed."""
    text = lines if isinstance(lines, str) else "\n".join(lines)
    for pattern, allowed, reason in RULES:
        if re.search(pattern, text, re.I):
            return RightsVerdict(allowed, reason)
    return RightsVerdict(True, "no claim")


def find_corpus() -> Path:
    """Folder of music21's corpus; raises FileNotFoundError with a hint if music21 is not installed."""
    spec = importlib.util.find_spec("music21")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("music21 is not installed: pip install music21 (it carries the scores)")
    root = Path(spec.origin).parent / "corpus"
    if not (root / "ryansMammoth").is_dir():
        raise FileNotFoundError(f"music21 is installed without its corpus: {root} has no scores")
    return root


def tidy_title(raw: str) -> str:
    """'Kerry Cobbler, The' -> 'The Kerry Cobbler'; drops '-- Reel' tails, stray quotes and full stops."""
    title = re.split(r"\s+--?\s+", raw.strip().strip('"'))[0].strip(" .")
    title = re.sub(r"^(.*),\s*(The|A|An)\b\.?(.*)$", r"\2 \1\3", title, flags=re.I)
    title = re.sub(r"\s+", " ", title.replace(":", "")).strip(" .")
    title = re.sub(r"^(.*)\. The$", r"The \1", title).strip(" .,")
    if title.count('"') == 1:
        title = title.replace('"', "")
    if title.isupper():
        title = re.sub(r"'(M|S|Ll|Re|Ve|D|T|Es)\b", lambda m: m[0].lower(), title.title())
    return title


def quote_without_addresses(lines: list[str]) -> str:
    """Joins lines for `licence_evidence`, with "(address)" for e-mail addresses and hosts."""
    kept = (re.sub(r"\s+", " ", ADDRESS.sub("(address)", line)).strip(' "*,.') for line in lines)
    return "; ".join(dict.fromkeys(line for line in kept if len(line) > 2))


def read_abc_file(path: Path, collection: str, root: Path) -> list[Tune]:
    """Splits an ABC book into tunes; comments before the first tune count as rights lines of every tune."""
    text = path.read_text(encoding="utf-8", errors="replace")
    head, *bodies = re.split(r"(?m)^(?=X:)", text)
    shared = [line for line in head.splitlines() if line.startswith("%")]
    tunes = []
    for body in bodies:
        lines = body.splitlines()
        rights = [s for s in lines if re.match(r"[ZNCSBOHFDA]:|%", s)]
        verdict = judge(shared + rights)
        titles = tuple(tidy_title(s[2:]) for s in lines if s.startswith("T:"))
        if not verdict.allowed or not titles or SECOND_HAND.search("\n".join(rights)):
            continue
        kind = next((s[2:].strip().lower() for s in lines if s.startswith("R:")), "")
        signed = quote_without_addresses([s.replace('"', "") for s in rights if s.startswith("Z:")][:2])
        file = path.relative_to(root).as_posix()
        evidence = f'{file}: rights lines: none; transcriber line: "{signed or "none"}"; {CORPUS_LICENCE}'
        tunes.append(Tune(collection, file, lines[0][2:].strip(), titles, kind, body, evidence))
    return tunes


def read_musicxml_text(path: Path) -> str:
    """Text of a .xml or .mxl score; the container of a .mxl says which inner file it is."""
    if path.suffix == ".mxl":
        with zipfile.ZipFile(path) as archive:
            container = archive.read("META-INF/container.xml").decode("utf-8", "replace")
            found = re.search(r'full-path="([^"]+)"', container)
            raw = archive.read(found.group(1) if found else archive.namelist()[0])
    else:
        raw = path.read_bytes()
    return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")


def read_musicxml_rights(path: Path) -> list[str]:
    """The <rights> lines of a score and those of its <credit-words> that speak of rights."""
    text = read_musicxml_text(path)
    rights = re.findall(r"<rights[^>]*>([^<]*)</rights>", text)
    credit = re.findall(r"<credit-words[^>]*>([^<]*)</credit-words>", text)
    credit = [s for s in credit if re.search(r"©|copyright|reserved|licen[cs]e|domain|permission|cc0", s, re.I)]
    return list(dict.fromkeys(s.strip() for s in rights + credit if s.strip()))


def survey(root: Path) -> tuple[list[Tune], dict[str, list[str]], Counter[str]]:
    """Usable ABC tunes, usable scores as {file: its rights lines}, and counts of refusals by reason."""
    tunes: list[Tune] = []
    scores: dict[str, list[str]] = {}
    refused: Counter[str] = Counter()
    for path in sorted(p for p in root.rglob("*") if p.suffix in {".abc", ".mxl", ".xml", ".musicxml", ".krn"}):
        file = path.relative_to(root).as_posix()
        collection = file.split("/")[0]
        if collection not in ALLOWED:
            refused[f"{collection}: {REFUSED.get(collection, 'not on the allow-list')}"] += 1
        elif file in REFUSED_FILES:
            refused[f"{file}: {REFUSED_FILES[file]}"] += 1
        elif path.suffix == ".krn":
            refused["kern files"] += 1
        elif path.suffix == ".abc":
            found = read_abc_file(path, collection, root)
            total = path.read_text(encoding="utf-8", errors="replace").count("\nX:")
            if found:
                tunes += found
            refused[f"{collection}: tunes whose header claims rights or names another source"] += max(
                0, total - len(found)
            )
        else:
            rights = read_musicxml_rights(path)
            verdict = judge(rights)
            if verdict.allowed:
                scores[file] = rights
            else:
                refused[f"{collection}: {verdict.reason}"] += 1
    unfit = [t for t in tunes if any(UNFIT.search(title) for title in t.titles)]
    refused["tunes with a title unfit for a demo"] += len(unfit)
    keep = [t for t in tunes if t not in unfit]
    return keep, scores, +refused
