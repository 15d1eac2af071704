"""Evidence reports: what they hold, what they must not, and the files they come as."""

from __future__ import annotations

import csv
import io
import os
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import soundfile

from explorer.__main__ import main
from explorer.report.evidence import gather_clip_evidence, gather_holder_evidence
from explorer.report.html import render_html
from explorer.report.origin import hash_file
from explorer.report.records import EvidenceError
from explorer.report.routes import name_file
from explorer.report.row_files import escape_formula, format_csv, write_parquet
from explorer.settings import Password, Settings
from explorer.sound import permission
from explorer.sound.embedding import embed_sound
from explorer.sound.permission import SoundRefusedError
from explorer.text.evidence import LIMITS
from support.held import HOSTILE_LABEL, LABEL, PUBLISHER

TAGS = set(
    "html head meta title style body main header section footer h1 h2 p dl dt dd ul li div figure figcaption strong "
    "span"
    " audio table colgroup col thead tbody tr th td small br pre svg line polyline circle rect text".split()
)


class ReportReader(HTMLParser):
    """Tags, attributes and text of a report."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def clip_report(held):
    return gather_clip_evidence(held, 1)


@pytest.fixture(scope="module")
def holder_report(held):
    return gather_holder_evidence(held, LABEL, "label")


@pytest.fixture(scope="module", params=["clip_report", "holder_report"])
def report(request):
    return request.getfixturevalue(request.param)


def test_a_report_has_no_script_and_asks_for_nothing(report):
    page = ReportReader(render_html(report))
    assert set(page.tags) <= TAGS
    named = [value for name, value in page.attributes if name in ("src", "href", "action", "data", "poster", "srcset")]
    assert named and all(value.startswith("data:audio/") for value in named)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    policy = next(value for _, value in page.attributes if value.startswith("default-src"))
    assert "default-src 'none'" in policy and "script" not in policy
    style = re.search(r"<style>(.*?)</style>", render_html(report), re.S)[1]
    assert "url(" not in style and "@import" not in style and "@media print" in style


def test_hostile_texts_stay_texts(held):
    page = ReportReader(render_html(gather_clip_evidence(held, 2)))
    assert '<img src=x onerror=alert(1)> ${alert(1)} "quoted" & brass band' in page.text
    page = ReportReader(render_html(gather_holder_evidence(held, HOSTILE_LABEL, "label")))
    assert HOSTILE_LABEL in page.text and "{{value}} `${alert(2)}`" in page.text
    assert set(page.tags) <= TAGS and "script" not in page.tags and "img" not in page.tags


def test_what_a_report_says(clip_report, holder_report, held):
    clip, holder = ReportReader(render_html(clip_report)).text, ReportReader(render_html(holder_report)).text
    for text in (clip, holder):
        for limit in LIMITS:
            assert limit in text
        for words in ("How sure is this?", "Is anything copied?", "What may be played?", "precompute remove", "abc"):
            assert words in text
        assert "p = 0.003" in text and "clip 1, 0.2–1.0 s" in text  # the passage
        assert hash_file(held.store.path, 0) in text
        assert "% owed" not in text.lower() and "owes" not in text.lower()
        assert "one of 2 renderings of one work" in text
    assert "4 of 18 candidates stand above noise" in clip and "slow piano waltz" in clip
    assert "Its 8 training tracks come up" in holder and "Lift over chance" in holder
    assert f"{LABEL} (label) · {LABEL} (performer)" in holder
    assert "Strongest decoys, for comparison" in clip and "decoy, never heard" in clip
    assert str(held.store.path.parent) not in clip + holder


def embedded(evidence):
    return {one.title: one for group in evidence.excerpts for one in group}


def test_sound_goes_in_as_the_rights_holder_allows(held, made):
    for track_id, why in (
        (made.FORBIDDEN, "the rights holder does not allow listening"),
        (made.MISSING, "the audio file is missing"),
        (made.PATHLESS, "not part of this copy"),
        (made.ESCAPING, "lies outside its folder"),
        (made.BROKEN, "cannot be decoded"),
    ):
        with pytest.raises(SoundRefusedError, match=why):
            embed_sound(held.store, "track", track_id, 1.0)
    media_type, data, from_s, to_s = embed_sound(held.store, "track", made.EXCERPT, 18.0)  # a moment behind the excerpt
    assert media_type == "audio/mpeg" and (from_s, to_s) == (0.0, pytest.approx(15.0))
    assert soundfile.info(io.BytesIO(data)).duration <= 15.2
    found = embedded(gather_clip_evidence(held, 1))
    assert [one.data is not None for one in found.values()].count(True) >= 4
    assert all(soundfile.info(io.BytesIO(one.data)).duration <= 15.2 for one in found.values() if one.data)


def test_a_long_track_that_may_be_heard_is_cut_around_its_moment(held, monkeypatch):
    monkeypatch.setattr(permission, "EXCERPT_S", 1.0)
    _, data, from_s, to_s = embed_sound(held.store, "track", 12, 1.7)
    length = held.store.tracks.read(12).duration_s
    assert from_s == min(1.7, length - 1.0) and to_s - from_s == pytest.approx(1.0, abs=0.01)
    assert soundfile.info(io.BytesIO(data)).duration < 1.2


def test_a_forbidden_track_is_named_and_not_embedded(held, made):
    report = gather_holder_evidence(held, PUBLISHER, "publisher")
    found = embedded(report)
    silent = [one for title, one in found.items() if title.startswith(f"Track {made.FORBIDDEN}:")]
    assert silent and all(one.data is None and "does not allow listening" in one.note for one in silent)
    assert any(one.data for title, one in found.items() if title.startswith("Clip "))
    page = ReportReader(render_html(report))
    clips = sum(title.startswith("Clip ") for title in found)
    assert page.tags.count("audio") == clips and "not embedded: the rights holder does not allow listening" in page.text
    sounds = [b64decode(value.partition(",")[2]) for name, value in page.attributes if name == "src"]
    assert sounds and all(soundfile.info(io.BytesIO(sound)).duration < 3.1 for sound in sounds)


def test_unknown_clips_names_and_methods_are_told(held):
    with pytest.raises(EvidenceError, match="no scored clip 77"):
        gather_clip_evidence(held, 77)
    with pytest.raises(EvidenceError, match="no method 'x': choose one of unlearning, cosine"):
        gather_clip_evidence(held, 1, "x")
    with pytest.raises(EvidenceError, match="no grouping 'planet'"):
        gather_holder_evidence(held, LABEL, "planet")
    with pytest.raises(EvidenceError, match="nobody of this store is called 'Nobody'"):
        gather_holder_evidence(held, "Nobody")
    assert gather_holder_evidence(held, LABEL).subject[0] == ("Grouped by", "label")  # found without saying what it is


# -- rows --------------------------------------------------------------------------------------------------------------


def test_csv_holds_every_row_and_no_formula(clip_report, held):
    text = format_csv(clip_report)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 80 and {row["track_id"] for row in rows} == {str(i) for i in range(1, 81)}
    assert [row["place"] for row in rows if row["is_decoy"] == "False"] == [str(i) for i in range(1, 41)]
    frame = held.store.scores.read_frame(1, 1).set_index("track_id")
    for row in rows:
        assert float(row["score_norm"]) == frame.loc[int(row["track_id"]), "score_norm"]
    for row in rows:
        for value in row.values():
            assert not value or (value[0] not in "=+@\t\r" and (value[0] != "-" or float(value) < 0))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\ufeff=1", "＝1", "\n=1"])
def test_a_formula_is_made_harmless(text):
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Waltz", "a=b", "1-2", "'=1"])
def test_other_texts_stay_as_they_are(text):
    assert escape_formula(text) == text


def test_parquet_holds_the_same_rows(holder_report, tmp_path):
    path = tmp_path / "it's.parquet"
    write_parquet(holder_report, path)
    with duckdb.connect() as con:
        found = con.execute("SELECT * FROM read_parquet(?)", [str(path)]).df()
    rows = list(csv.DictReader(io.StringIO(format_csv(holder_report), newline="")))
    assert list(found.columns) == list(rows[0]) and len(found) == len(rows)
    assert found["track_id"].tolist() == [int(row["track_id"]) for row in rows]
    assert pd.api.types.is_integer_dtype(found["place"]) and pd.api.types.is_float_dtype(found["clip_from_s"])


# -- files and addresses -----------------------------------------------------------------------------------------------


def test_the_command_writes_three_files(held_path: Path, tmp_path: Path, capsys):
    out = tmp_path / "label.html"
    assert main(["report", "--store", str(held_path), "--holder", LABEL, "--by", "label", "--out", str(out)]) == 0
    assert sorted(os.listdir(tmp_path)) == ["label.csv", "label.html", "label.parquet"]
    assert capsys.readouterr().out.count("wrote") == 3
    text = out.read_text(encoding="utf-8")
    assert "Its rows: label.csv, label.parquet." in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--clip", "99", "--out", "a.html"], "no scored clip 99"),
        (["--holder", "Nobody", "--out", "a.html"], "nobody of this store is called 'Nobody'"),
        (["--clip", "1", "--out", "a.pdf"], "must end in .html"),
        (["--clip", "1", "--out", "nowhere/a.html"], "there is no folder nowhere"),
        (["--clip", "1", "--out", "full.html"], "cannot be written"),
        (["--clip", "1", "--out", "a.html", "--store", "no.duckdb"], "no store at"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(held_path, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full.html").mkdir()  # a folder where the file should go
    store = [] if "--store" in arguments else ["--store", str(held_path)]
    assert main(["report", *arguments, *store]) == 1
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and said.startswith("explorer: ")
    assert os.listdir(tmp_path) == ["full.html"]


@pytest.fixture(scope="module")
def asked(held_path):
    from starlette.testclient import TestClient

    from explorer.server import create_server

    with TestClient(create_server(Settings(held_path)), base_url="http://127.0.0.1") as client:
        yield client.get


def test_reports_by_address(asked):
    got = asked("/report/clip.html?clip=1")
    assert got.status_code == 200 and got.headers["content-type"].startswith("text/html")
    assert got.headers["content-disposition"] == 'attachment; filename="whence-clip-1.html"'
    assert "no-store" in got.headers["cache-control"] and "Clip 1" in got.text
    got = asked("/report/holder.csv", params={"of": HOSTILE_LABEL, "by": "label"})
    name = got.headers["content-disposition"].split('"')[1]
    assert re.fullmatch(r"whence-[a-z0-9-]+\.csv", name) and got.content.startswith(b"\xef\xbb\xbfclip_id")
    got = asked("/report/holder.parquet", params={"of": LABEL})
    assert got.status_code == 200 and got.content[:4] == b"PAR1"


@pytest.mark.parametrize(
    "address",
    [
        "/report/clip.html",
        "/report/clip.html?clip=99",
        "/report/clip.html?clip=1e9",
        "/report/clip.html?clip=1&method=x",
        "/report/clip.exe?clip=1",
        "/report/other.html",
        "/report/holder.html?of=Nobody",
        "/report/holder.html?of=Amy+Beach&by=planet",
        "/report/holder.html?of=Amy+Beach&up=3",
    ],
)
def test_reports_that_are_not_there(asked, address):
    got = asked(address)
    assert got.status_code == 404 and "detail" in got.json()


def test_reports_ask_for_the_password_too(held_path):
    from starlette.testclient import TestClient

    from explorer.server import create_server

    settings = Settings(held_path, password=Password.of("correct horse"))
    with TestClient(create_server(settings), base_url="http://127.0.0.1") as client:
        assert client.get("/report/clip.csv?clip=1").status_code == 401


def test_a_file_name_is_plain(clip_report):
    assert name_file(replace(clip_report, title="../../ \u202e.exe"), "html") == "whence-exe.html"
    assert name_file(replace(clip_report, title="日本"), "csv") == "whence-clip.csv"
