"""Evidence reports on demand: `python -m explorer report` writes files, /report/ sends them to a browser."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

import duckdb
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from explorer.report.evidence import of_clip, of_holder
from explorer.report.html import render
from explorer.report.records import Evidence, EvidenceError
from explorer.report.rows import csv_text, write_parquet
from explorer.settings import SettingsError, default_store
from explorer.state.callbacks import Callbacks
from explorer.state.view import BadEventError, parse_id
from explorer.store.database import Store
from explorer.store.errors import StoreError
from explorer.store.groups import COUNTS

TYPES = {"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8", "parquet": "application/octet-stream"}
_WANTED = re.compile(r"(clip|holder)\.(html|csv|parquet)")


def main(arguments: Sequence[str]) -> int:
    """`python -m explorer report`: one line for each file written; a user's mistake is one line on stderr, exit 1."""
    options = _parse(arguments)
    try:
        paths = _write(options)
    except (SettingsError, StoreError, EvidenceError) as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 1
    for path in paths:
        print(f"explorer: wrote {path}")
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m explorer report", description="Write an evidence report, and its rows as CSV and Parquet."
    )
    about = parser.add_mutually_exclusive_group(required=True)
    about.add_argument("--clip", type=int, metavar="N", help="id of a clip")
    about.add_argument("--holder", metavar="NAME", help="a composer, rights holder, collection, ... of the store")
    parser.add_argument(
        "--by", metavar="GROUPING", help="what NAME is: 'composer', 'collection', a role (default: found)"
    )
    parser.add_argument("--count", choices=COUNTS, default=COUNTS[0], help="when a track comes up (default: first 10)")
    parser.add_argument("--method", metavar="NAME", help="of the store's methods (default: its first)")
    parser.add_argument("--store", type=Path, help="DuckDB file (default: data/whence.duckdb, else the shipped demo)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the report; rows go beside it")
    return parser.parse_args(arguments)


def _write(options: argparse.Namespace) -> list[Path]:
    """All three files or none. Raises SettingsError, StoreError, EvidenceError."""
    out: Path = options.out
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--out {out}: the report is an HTML file, so its name must end in .html")
    if not out.parent.is_dir():
        raise SettingsError(f"--out {out}: there is no folder {out.parent}; make it first")
    store = Store(options.store or default_store())
    try:
        evidence = _evidence(Callbacks(store), options)
    finally:
        store.close()
    finals = [out, out.with_suffix(".csv"), out.with_suffix(".parquet")]
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in finals]
    try:
        parts[0].write_text(render(evidence, [path.name for path in finals[1:]]), encoding="utf-8")
        parts[1].write_text(csv_text(evidence), encoding="utf-8-sig", newline="")
        write_parquet(evidence, parts[2])
        for part, final in zip(parts, finals, strict=True):
            os.replace(part, final)
    except OSError as error:
        raise SettingsError(f"--out {out}: cannot be written ({error.strerror})") from error
    except duckdb.IOException as error:
        raise SettingsError(
            f"--out {out}: its Parquet file cannot be written ({str(error).splitlines()[0]})"
        ) from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return finals


def _evidence(callbacks: Callbacks, options: argparse.Namespace) -> Evidence:
    if options.clip is not None:
        return of_clip(callbacks, options.clip, options.method)
    return of_holder(callbacks, options.holder, options.by, options.method, options.count)


def add_reports(app: FastAPI, callbacks: Callbacks) -> None:
    """/report/clip.<kind>?clip=N and /report/holder.<kind>?of=NAME&by=GROUPING, kind html, csv or parquet."""
    one_at_a_time = Lock()  # a report may take a second or more of a core, and some MB

    @app.get("/report/{wanted}")
    def report(wanted: str, request: Request) -> Response:
        match = _WANTED.fullmatch(wanted)
        if match is None:
            return JSONResponse({"detail": "there is no such report"}, status_code=404)
        try:
            with one_at_a_time:
                evidence = _asked(callbacks, match[1], request.query_params)
                data = content(evidence, match[2])
        except (EvidenceError, BadEventError) as error:
            return JSONResponse({"detail": str(error)}, status_code=404)
        name = file_name(evidence, match[2])
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
        return Response(data, media_type=TYPES[match[2]], headers=headers)


def _asked(callbacks: Callbacks, what: str, asked: Mapping[str, str]) -> Evidence:
    if what == "clip":
        return of_clip(callbacks, parse_id(asked.get("clip")), asked.get("method"))
    count = asked.get("up", COUNTS[0])
    if count not in COUNTS:
        raise EvidenceError("tracks come up by first places, or above noise")
    return of_holder(callbacks, asked.get("of", ""), asked.get("by"), asked.get("method"), count)


def content(evidence: Evidence, kind: str) -> bytes:
    """A report, or its rows, as the bytes of a file of this kind of TYPES."""
    if kind == "html":
        return render(evidence).encode("utf-8")
    if kind == "csv":
        return csv_text(evidence).encode("utf-8-sig")
    with tempfile.TemporaryDirectory(prefix="whence-report-") as folder:
        path = Path(folder) / "rows.parquet"
        write_parquet(evidence, path)
        return path.read_bytes()


def file_name(evidence: Evidence, kind: str) -> str:
    """'whence-clip-1.html': ASCII letters, digits and dashes alone, whatever a name holds."""
    plain = re.sub(r"[^a-z0-9]+", "-", evidence.title.lower()).strip("-")[:60].strip("-")
    return f"whence-{plain or evidence.kind}.{kind}"
