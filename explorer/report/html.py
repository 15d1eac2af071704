"""An evidence report as one HTML file: no script, nothing fetched, sound and pictures inside, made to be printed too.

Every text of the store passes `html.escape`. The file's own policy forbids scripts and every request, so that not even
a text that slipped through could act or call.
"""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path

from explorer.holders.pairs import PairDetails
from explorer.report.records import Chart, Evidence, SoundExcerpt
from explorer.text.claims import label_hub, label_track
from explorer.text.clips import name_clip
from explorer.text.evidence import DECOYS_NOTE, FOOTER
from explorer.text.numbers import format_error_rate, format_places, format_plus_minus

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)
STYLE = (Path(__file__).parent / "evidence.css").read_text(encoding="utf-8")
CELL_CHARS = 300
_COLUMNS = (
    *("place", "track, who holds it, licence", "normalised ± error", "q", "where"),
    *("shaped this clip?", "shaped the model?"),
)
_WIDTHS = {"clip": (8, 33, 12, 7, 14, 13, 13), "holder": (15, 8, 24, 11, 6, 12, 12, 12)}  # percent, a column each


def render_html(evidence: Evidence, beside: Sequence[str] = ()) -> str:
    """The whole file. `beside`: names of the files that hold its rows."""
    title = f"Evidence report: {evidence.title}"
    noun = "clip" if evidence.kind == "clip" else "catalogue"
    rows_in = f" Its rows: {', '.join(beside)}." if beside else ""
    lines, command = evidence.take_out
    parts = [
        "<header>",
        f"<p class=kind>Whence · evidence report for a {noun}</p><h1>{_escape(evidence.title)}</h1>",
        _render_facts(evidence.subject),
        "</header>",
        _render_section("What was found", _render_paragraphs(evidence.result, "result")),
        *(_render_chart(chart) for chart in evidence.charts[:1]),
        _render_section("How sure is this?", _render_paragraphs(evidence.sure)),
        _render_section("Is anything copied?", _render_paragraphs(evidence.copied) + _render_passages(evidence)),
        _render_section("To hear", _render_sounds(evidence)),
        _render_section(
            "Training tracks" if evidence.kind == "clip" else "Where it comes up",
            _render_paragraphs([evidence.table_note + rows_in]) + _render_table(evidence, evidence.pairs),
        ),
    ]
    if evidence.decoys:
        parts.append(
            _render_section(
                "Strongest decoys, for comparison",
                _render_paragraphs([DECOYS_NOTE]) + _render_table(evidence, evidence.decoys),
            )
        )
    parts += [
        *(_render_chart(chart) for chart in evidence.charts[1:]),
        _render_section("What this cannot tell", _render_list(evidence.limits)),
        _render_section("What may be played?", _render_paragraphs(evidence.played)),
        _render_section("Take it out", _render_paragraphs(lines) + f"<pre>{_escape(command)}</pre>"),
        _render_section("How it was made", _render_facts(evidence.settings)),
        _render_section("Hashes (SHA-256)", _render_facts(evidence.hashes, "hashes")),
        f"<footer>Made on {evidence.made_at:%Y-%m-%d %H:%M} UTC. {_escape(FOOTER)}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _escape(text: str) -> str:
    return html.escape(str(text), quote=True)


def _render_section(title: str, inner: str) -> str:
    return f"<section><h2>{_escape(title)}</h2>{inner}</section>"


def _render_chart(chart: Chart) -> str:
    return _render_section(chart.title, chart.svg + _render_paragraphs([chart.caption], "caption"))


def _render_paragraphs(lines: Iterable[str], name: str = "") -> str:
    kind = f" class={name}" if name else ""
    return "".join(f"<p{kind}>{_escape(line)}</p>" for line in lines)


def _render_list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{_escape(line)}</li>" for line in lines) + "</ul>"


def _render_facts(pairs: Iterable[tuple[str, str]], name: str = "facts") -> str:
    return f"<dl class={name}>" + "".join(f"<dt>{_escape(k)}</dt><dd>{_escape(v)}</dd>" for k, v in pairs) + "</dl>"


def _render_sounds(evidence: Evidence) -> str:
    return "".join(
        '<div class="together">' + "".join(map(_render_sound, group)) + "</div>" for group in evidence.excerpts
    )


def _render_sound(excerpt: SoundExcerpt) -> str:
    head = f"<figcaption><strong>{_escape(excerpt.title)}</strong> <span>{_escape(excerpt.note)}</span></figcaption>"
    if excerpt.data is None:
        return f'<figure class="silent">{head}</figure>'
    address = f"data:{excerpt.media_type};base64,{b64encode(excerpt.data).decode('ascii')}"
    label = _escape(excerpt.title)
    return f'<figure>{head}<audio controls preload="none" aria-label="{label}" src="{address}"></audio></figure>'


def _render_passages(evidence: Evidence) -> str:
    if not evidence.passages:
        return ""
    rows = "".join("<tr>" + "".join(f"<td>{_escape(text)}</td>" for text in row) + "</tr>" for row in evidence.passages)
    return f"<table><thead><tr><th>clip</th><th>track</th><th>how close</th></tr></thead><tbody>{rows}</tbody></table>"


def _render_table(evidence: Evidence, pairs: Sequence[PairDetails]) -> str:
    if not pairs:
        return "<p>None.</p>"
    columns = _COLUMNS if evidence.kind == "clip" else ("clip", *_COLUMNS)
    widths = "".join(f'<col style="width: {percent}%">' for percent in _WIDTHS[evidence.kind])
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    licences = {text: i for i, text in enumerate(dict.fromkeys(pair.track.licence for pair in pairs), 1)}
    rows = "".join(_render_row(evidence, pair, columns, licences[pair.track.licence]) for pair in pairs)
    inner = f"<colgroup>{widths}</colgroup><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    listed = "".join(f"<p>Licence {i}: {_escape(text[:CELL_CHARS])}</p>" for text, i in licences.items())
    return f'<div class="wide"><table>{inner}</table></div><div class="licences">{listed}</div>'


def _render_row(evidence: Evidence, pair: PairDetails, columns: Sequence[str], licence: int) -> str:
    """One pair of clip and track; `licence`: its number below the table."""
    track = pair.track
    details = evidence.track_details.get(track.track_id, {})
    codes = [f"{name.upper()} {details[name]}" for name in ("isrc", "iswc") if details.get(name)]
    same = f"one of {pair.renderings} renderings of one work" if pair.renderings > 1 else ""
    planted = f"planted case: {track.planted}" if track.planted else ""
    where = [
        f"{what}\xa0{at[0]:.1f}–{at[1]:.1f}\xa0s"
        for what, at in (("clip", pair.clip_at), ("track", pair.track_at))
        if at
    ]
    cells = [
        _render_number(format_places(*pair.places) if pair.place is not None else "–"),
        _render_cell(
            f"{track.title} ({track.track_id})",
            " · ".join((pair.people, track.collection)),
            " · ".join(part for part in (same, planted, *codes, f"licence {licence}") if part),
        ),
        _render_number(format_plus_minus(pair.score_norm, pair.std_error_norm, 2)),
        _render_number(format_error_rate(pair.q_value)),
        "<td class=where>" + ("<br>".join(map(_escape, where)) or "not kept") + "</td>",
        f"<td class=badge>{_escape(pair.badge)}</td>",
        _render_cell(label_track(pair.claim), label_hub(pair.claim)),
    ]
    if evidence.kind == "holder":
        cells.insert(0, f"<td>{_escape(f'{pair.clip.clip_id}: {name_clip(pair.clip)}'[:CELL_CHARS])}</td>")
    # On a narrow screen a row is a block, and each cell says what it is.
    cells = [cell.replace("<td", f'<td data-label="{label}"', 1) for cell, label in zip(cells, columns, strict=True)]
    return f"<tr{' class=above' if pair.above_noise and pair.place is not None else ''}>{''.join(cells)}</tr>"


def _render_cell(*texts: str) -> str:
    """The first text, the others below it in small."""
    first, *rest = [text[:CELL_CHARS] for text in texts if text] or [""]
    return f"<td>{_escape(first)}{''.join(f'<small>{_escape(text)}</small>' for text in rest)}</td>"


def _render_number(text: str) -> str:
    return f"<td class=number>{_escape(text)}</td>"
