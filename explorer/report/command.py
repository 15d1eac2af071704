"""`python -m explorer report`: writes an evidence report as HTML, and its rows as CSV and Parquet beside it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from explorer.report.evidence import gather_clip_evidence, gather_holder_evidence
from explorer.report.html import render_html
from explorer.report.records import Evidence, EvidenceError
from explorer.report.row_files import format_csv, write_parquet
from explorer.settings import SettingsError, find_default_store
from explorer.state.store_views import StoreViews
from explorer.store import Store
from explorer.store.errors import StoreError
from explorer.store.lift import COUNTS


def main(arguments: Sequence[str]) -> int:
    """Run the command. Prints a line for each file written, or one line on stderr; returns the exit status."""
    options = _parse_arguments(arguments)
    try:
        paths = _write_files(options)
    except (SettingsError, StoreError, EvidenceError) as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 1
    for path in paths:
        print(f"explorer: wrote {path}")
    return 0


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
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
    parser.add_argument("--method", metavar="NAME", help="of the store's methods (default: what the page opens with)")
    parser.add_argument("--store", type=Path, help="DuckDB file (default: data/whence.duckdb, else the shipped demo)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the report; rows go beside it")
    return parser.parse_args(arguments)


def _write_files(options: argparse.Namespace) -> list[Path]:
    """Write all three files, or none. Raises SettingsError, StoreError, EvidenceError."""
    out: Path = options.out
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--out {out}: the report is an HTML file, so its name must end in .html")
    if not out.parent.is_dir():
        raise SettingsError(f"--out {out}: there is no folder {out.parent}; make it first")
    store = Store(options.store or find_default_store())
    try:
        evidence = _gather_evidence(StoreViews(store), options)
    finally:
        store.close()
    finals = [out, out.with_suffix(".csv"), out.with_suffix(".parquet")]
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in finals]
    try:
        parts[0].write_text(render_html(evidence, [path.name for path in finals[1:]]), encoding="utf-8")
        parts[1].write_text(format_csv(evidence), encoding="utf-8-sig", newline="")
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


def _gather_evidence(views: StoreViews, options: argparse.Namespace) -> Evidence:
    if options.clip is not None:
        return gather_clip_evidence(views, options.clip, options.method)
    return gather_holder_evidence(views, options.holder, options.by, options.method, options.count)
