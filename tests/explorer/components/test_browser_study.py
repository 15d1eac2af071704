"""A researcher's visit: two methods compared, why a track, hard cases, notes."""

from __future__ import annotations

import csv
import io
import re

import duckdb
import pytest

from support.browsing import expect, expect_query, get, hears, lane, open_tab, until

pytestmark = pytest.mark.browser


def test_two_methods_side_by_side(open_page, store):
    page = open_page("?clip=2&view=compare")
    sides = page.locator("#comparison .sides")
    expect(sides.locator(".left h3")).to_have_text("Unlearning")
    columns = [
        sides.locator(f"{side} li").evaluate_all("rows => rows.map(row => row.dataset.track)")
        for side in (".left", ".right")
    ]
    first = [
        store.scores.read_frame(method, 2).dropna(subset="train_rank").head(20)["track_id"].astype(str).tolist()
        for method in (1, 2)
    ]
    assert columns == first
    shared = set(columns[0]) & set(columns[1])
    expect(sides.locator(".links path")).to_have_count(len(shared))
    assert set(sides.locator(".links path").evaluate_all("lines => lines.map(line => line.dataset.track)")) == shared
    assert page.locator("#comparison .dot:not(.decoy)").count() == 40
    said = sides.locator("li .sure").all_inner_texts()
    assert len(said) == 40 and all(
        re.fullmatch(r"(above noise|not distinguishable from noise) · q .+|not tested", text) for text in said
    )
    # Both ends of a line lie on their rows.
    ends = sides.locator(".links path").first.evaluate(
        """(line) => {
          const at = (part) => { const box = part.getBoundingClientRect(); return box.top + box.height / 2; };
          const rows = [...document.querySelectorAll(`#comparison li[data-track="${line.dataset.track}"]`)];
          const top = line.ownerSVGElement.getBoundingClientRect().top, length = line.getTotalLength();
          return [rows.map(at), [0, length].map((s) => top + line.getPointAtLength(s).y)];
        }"""
    )
    assert ends[0] == pytest.approx(ends[1], abs=1.5)
    # The filter leaves the rows of both columns that hold its words, and their lines alone.
    title = sides.locator(".left li button.name").nth(2).inner_text()
    page.get_by_label("Filter tracks").and_(page.locator("#comparison .find")).fill(title.upper())
    expect(sides.locator(".left li")).to_have_count(1)
    assert set(sides.locator("li .name").all_inner_texts()) == {title}
    expect(sides.locator(".links path")).to_have_count(1 if columns[0][2] in columns[1] else 0)
    page.locator("#comparison .find").fill("no such track")
    expect(sides.locator(".left .empty")).to_have_text("None of the 20 tracks listed holds “no such track”.")
    page.locator("#comparison .find").fill("")
    expect(sides.locator(".left li")).to_have_count(20)
    expect(page.locator("#heat .xtick text").first).to_be_visible()
    expect(page.locator("#heat")).to_contain_text("0.32")
    page.get_by_label("Agreement below").select_option(label="share of the first 10 in common")
    expect(page.locator("#heat")).to_contain_text("0.30")
    expect_query(page, "view=compare", "measure=top10")
    expect(page.locator("#methods .list > li")).to_have_count(2)
    expect(page.locator("#methods .list > li").first).to_contain_text("better than chance")
    expect(page.locator("#methods .skipped")).to_have_text(
        "Musical versions (clews): its checkpoint <b>clews.pt</b> is not there"
    )
    page.get_by_label("Filter methods").fill("cosine")
    expect(page.locator("#methods .list > li")).to_have_count(1)
    page.get_by_label("First method").select_option("cosine")
    expect(sides.locator(".left h3")).to_have_text("Gradient cosine")
    expect_query(page, "method=cosine", "view=compare")
    page.locator("#comparison .clip").select_option("1")
    expect(page.locator("#comparison .lines")).to_contain_text("Of the first 10")
    expect_query(page, "clip=1")
    page.reload()
    expect(page.locator("#comparison .left h3")).to_have_text("Gradient cosine")
    row = page.locator("#comparison .right li").nth(6)
    track = int(row.get_attribute("data-track"))
    row.locator(".name").click()
    expect(lane(page, track)).to_be_visible()
    expect_query(page, f"track={track}", "method=unlearning", without=("view",))


def test_why_a_track_and_its_passages(open_page):
    page = open_page("?clip=1")
    why = page.locator("#resemblance")
    expect(why.locator(".title")).to_have_text("<img src=x onerror=alert(1)>")
    assert [round(float(text)) for text in why.locator(".percent").all_inner_texts()] == [97, 89, 41, 12]
    expect(why.locator(".passages li")).to_have_count(2)
    why.get_by_role("button", name="Play passage 1").click()
    until(page, "transport.playing && transport.pair")
    assert get(page, "[player.passages().clip, player.passages()['1']]") == [[0.4, 1.2], [1.0, 1.8]]
    expect_query(page, "passage=1:1", "start=moment", "track=1", without=("loop",))
    page.reload()
    until(page, "player.data && player.passages()['1'][0] === 1")
    assert get(page, "player.passages().clip") == [0.4, 1.2] and not get(page, "transport.playing")
    page.locator("#player .passage .clear").click()
    expect_query(page, without=("passage",))
    lane(page, 2).locator(".listen").click()
    hears(page, 2)
    expect(why.locator(".title")).to_have_text("${alert(1)}")
    expect(why.locator(".missing")).to_contain_text("Not compared with this clip")


def test_hard_cases_lead_to_the_player(open_page, store):
    page = open_page("?view=wrong")
    expect(page.locator("#diagnostics svg.parts rect")).to_have_count(4)  # a stratum of t each
    cases = page.locator("#cases")
    cases.locator(".kind").select_option("decoys")
    expect(cases.locator(".about")).to_contain_text("the model never heard them")
    expect_query(page, "cases=decoys")
    total = cases.locator("tbody tr").count()
    cases.get_by_label("Filter cases").fill("humming")
    expect(cases.locator("tbody tr")).not_to_have_count(total)
    expect_query(page, "holds=humming")
    assert set(cases.locator("td.clip").all_inner_texts()) == {"a machine humming, no melody at all"}
    row = cases.locator("tbody tr").first
    track = int(row.get_attribute("data-track"))
    assert store.tracks.read(track).is_decoy
    row.locator(".hear").click()
    expect(row.locator(".hear")).to_have_attribute("aria-pressed", "true")
    row.locator(".hear").click()
    expect(row.locator(".hear")).to_have_attribute("aria-pressed", "false")
    row.locator(".name").click()
    expect(lane(page, track).locator(".place")).to_contain_text("would be place")
    expect_query(page, "clip=3", f"track={track}", without=("view",))
    page.go_back()
    expect(cases.locator("tbody tr").first).to_be_visible()
    expect(cases.get_by_label("Filter cases")).to_have_value("humming")
    cases.get_by_label("Filter cases").fill("no such thing")
    expect(cases.locator(".nothing")).to_have_text("No row holds “no such thing”.")
    cases.locator(".kind").select_option("disagree")
    expect_query(page, "cases=disagree")
    cases.get_by_label("Filter cases").fill("")
    expect(cases.locator("tbody tr")).to_have_count(5)
    expect(page.locator("#diagnostics .findings tbody tr")).to_have_count(2)
    page.get_by_label("Filter findings").fill("raw")
    expect(page.locator("#diagnostics .findings tbody tr")).to_have_count(1)
    page.locator("#diagnostics .dots .dot").first.dispatch_event("click")
    expect(page.locator("#player .lane").first).to_be_visible()
    # A decoy that was opened is what lies behind the scores, back in this tab: how sure, over t, along training, cost.
    open_tab(page, "Where is it wrong")
    cases.locator(".kind").select_option("decoys")
    expect(cases.locator(".about")).to_contain_text("the model never heard them")
    row = cases.locator("tbody tr[data-track]").first
    track = int(row.get_attribute("data-track"))
    assert store.tracks.read(track).is_decoy
    row.locator(".name").click()
    expect(lane(page, track).locator(".place")).to_contain_text("would be place")
    open_tab(page, "Where is it wrong")
    diagnostics = page.locator("#diagnostics")
    expect(diagnostics.locator(".whose")).to_contain_text(f"Track {track}: ")
    expect(diagnostics.locator(".remarks")).to_contain_text("A decoy: the model never heard it.")
    expect(diagnostics.locator(".about")).to_contain_text("this track is not among them")
    expect(diagnostics.locator(".findings th").nth(1)).to_contain_text("step ")
    diagnostics.get_by_text("Run and cost").click()
    expect(diagnostics.locator("details[open] pre")).to_contain_text("weights ")
    cases.locator(".kind").select_option("hubs")
    expect(cases.locator("th", has_text="q at it")).to_be_visible()
    expect(cases.locator("tbody .badge").first).to_contain_text("for its best clip")


def test_notes_are_kept_exported_and_taken_away(open_page):
    page = open_page("?clip=1&view=wrong")
    row = page.locator("#cases tbody tr").first
    title, track = row.locator(".name").inner_text(), row.get_attribute("data-track")
    row.get_by_role("button", name="Write a note").click()
    page.get_by_label(f"Note on {title}").fill('=HYPERLINK("x"), “loud”\nsecond line')
    row.get_by_role("button", name="Keep").click()
    expect(row.locator(".kept")).to_contain_text("second line")
    page.reload()
    expect(page.locator("#cases tbody tr").first.locator(".kept")).to_contain_text("second line")
    expect(page.locator("#notes .list > li")).to_have_count(1)
    with page.expect_download() as got:
        page.get_by_role("button", name="Export notes (CSV)").click()
    with open(got.value.path(), encoding="utf-8-sig", newline="") as file:
        text = file.read()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 1 and rows[0]["note"] == '\'=HYPERLINK("x"), “loud”\nsecond line'
    assert rows[0]["track_id"] == track and rows[0]["method"] == "unlearning" and float(rows[0]["clips"]) >= 2
    with page.expect_download() as got:
        page.get_by_role("button", name="Export this page (CSV)").click()
    with open(got.value.path(), encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == page.locator("#cases tbody tr").count() and sum(bool(one["note"]) for one in rows) == 1
    page.get_by_role("button", name=re.compile("^Delete the note")).click()
    expect(page.locator("#notes .nothing")).to_contain_text("No note yet")
    # Beside the player, on the track in focus.
    open_tab(page, "Listen")
    page.locator("#resemblance textarea").fill("-loud ending")
    page.locator("#resemblance .save").click()
    expect(page.locator("#resemblance .said")).to_have_text("Kept in this browser.")
    page.reload()
    expect(page.locator("#resemblance textarea")).to_have_value("-loud ending")


def test_a_clip_is_heard_from_the_overview(open_page):
    page = open_page("?view=clips")
    play = page.locator("#overview .made .hear").first
    play.click()
    expect(play).to_have_attribute("aria-pressed", "true")
    expect(play).to_have_attribute("aria-pressed", "false", timeout=10_000)  # it ends
    play.click()
    open_tab(page, "Listen")
    page.locator("#player .play").click()
    until(page, "transport.playing")
    open_tab(page, "All clips")
    expect(play).to_have_attribute("aria-pressed", "false")  # one sound at a time
    expect_query(page, "view=clips")


def test_with_one_method_nothing_is_offered_that_is_not_there(open_page, serve, store_path, tmp_path):
    path = tmp_path / "one.duckdb"
    path.write_bytes(store_path.read_bytes())
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM agreement")
        for table in ("scores", "methods"):
            con.execute(f"DELETE FROM {table} WHERE method_id = 2")
    with serve(path) as address:
        page = open_page("?view=compare", at=address)
        said = page.locator("#comparison .lines")
        expect(said).to_have_text("This store holds one method, Unlearning: there is no second one to compare it with.")
        expect(page.locator("#comparison .second")).to_be_hidden()
        expect(page.locator("#comparison .sides")).to_be_hidden()
        expect(page.locator("#heat-text")).to_have_text("Agreement needs two methods: this store holds one.")
        expect(page.locator("#heat")).to_have_count(0)
        expect(page.locator("#methods .list > li")).to_have_count(1)
