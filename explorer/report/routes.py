"""Evidence reports for a browser: /report/clip.<kind> and /report/holder.<kind>, made when they are asked for."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from explorer.report.evidence import gather_clip_evidence, gather_holder_evidence
from explorer.report.html import render_html
from explorer.report.records import Evidence, EvidenceError
from explorer.report.row_files import format_csv, write_parquet
from explorer.state.store_views import StoreViews
from explorer.state.view import BadEventError, parse_id
from explorer.store.lift import COUNTS

TYPES = {"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8", "parquet": "application/octet-stream"}
_NAME = re.compile(r"(clip|holder)\.(html|csv|parquet)")


def add_reports(app: FastAPI, views: StoreViews) -> None:
    """Add /report/clip.<kind>?clip=N and /report/holder.<kind>?of=NAME&by=GROUPING; kind: html, csv or parquet."""
    one_at_a_time = Lock()  # a report may take a second or more of a core, and some MB

    @app.get("/report/{name}")
    def report(name: str, request: Request) -> Response:
        match = _NAME.fullmatch(name)
        if match is None:
            return JSONResponse({"detail": "there is no such report"}, status_code=404)
        try:
            with one_at_a_time:
                evidence = _gather_evidence(views, match[1], request.query_params)
                data = encode_file(evidence, match[2])
        except (EvidenceError, BadEventError) as error:
            return JSONResponse({"detail": str(error)}, status_code=404)
        headers = {
            "Content-Disposition": f'attachment; filename="{name_file(evidence, match[2])}"',
            "Cache-Control": "private, no-store",
        }
        return Response(data, media_type=TYPES[match[2]], headers=headers)


def _gather_evidence(views: StoreViews, subject: str, query: Mapping[str, str]) -> Evidence:
    if subject == "clip":
        return gather_clip_evidence(views, parse_id(query.get("clip")), query.get("method"))
    count = query.get("up", COUNTS[0])
    if count not in COUNTS:
        raise EvidenceError("tracks come up by first places, or above noise")
    return gather_holder_evidence(views, query.get("of", ""), query.get("by"), query.get("method"), count)


def encode_file(evidence: Evidence, kind: str) -> bytes:
    """The bytes of a file of this kind of TYPES: the report, or its rows."""
    if kind == "html":
        return render_html(evidence).encode("utf-8")
    if kind == "csv":
        return format_csv(evidence).encode("utf-8-sig")
    with tempfile.TemporaryDirectory(prefix="whence-report-") as folder:
        path = Path(folder) / "rows.parquet"
        write_parquet(evidence, path)
        return path.read_bytes()


def name_file(evidence: Evidence, kind: str) -> str:
    """'whence-clip-1.html': ASCII letters, digits and dashes alone, whatever a name holds."""
    plain = re.sub(r"[^a-z0-9]+", "-", evidence.title.lower()).strip("-")[:60].strip("-")
    return f"whence-{plain or evidence.kind}.{kind}"
