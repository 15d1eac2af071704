"""The visit of a rights holder: find oneself, see how sure, hear where, take the report along. And what is hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.report.evidence import gather_clip_evidence, gather_holder_evidence
from explorer.report.html import render_html
from explorer.state.store_views import StoreViews
from explorer.store import Store
from support.browsing import OUTSIDE, expect, expect_lanes, expect_query, findings, until
from support.held import HOSTILE_LABEL, LABEL

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(open_page, held_url):
    """visit(query, **options): a page at the tab of rights holders, filled."""

    def start(query: str = "?view=holders", **options):
        page = open_page(query, at=held_url, **options)
        page.locator("#holders .question").first.wait_for(timeout=30_000)
        return page

    return start


def test_the_visit(visit):
    page = visit()
    part = page.locator("#holders")
    expect(part.locator(".note")).to_contain_text("grouped by composer")
    expect(part.locator("tbody tr")).to_have_count(6)
    expect(part.locator(".why")).to_contain_text("not by a raw sum")
    part.get_by_label("Group by").select_option("label")
    expect_query(page, "by=label", "view=holders")
    part.get_by_label("Find a name").fill("tiny")
    expect(part.locator("tbody tr")).to_have_count(1)
    expect(part.locator(".found")).to_have_text("1 of 2 names holds “tiny”: listed below, Enter goes there.")
    part.get_by_label("Find a name").press("Enter")
    expect(part.get_by_role("button", name=LABEL)).to_be_focused()
    part.get_by_role("button", name=LABEL).click()
    expect_query(page, "by=label", "of=Tiny Label")
    expect(part.locator(".chosen h3")).to_be_focused()
    expect(part.locator(".result")).to_contain_text("Its 8 training tracks come up")
    for question in ("Is anything copied?", "How sure is this?", "What may be played?", "Take it out"):
        expect(part.get_by_role("heading", name=question)).to_be_visible()
    first = part.locator(".pairs li").first
    expect(first).to_contain_text("above noise")
    expect(first).to_contain_text("q 0.04")
    expect(first).to_contain_text("one of 2 renderings of this work")

    expect(part).to_contain_text("What training again without these tracks would add")
    expect(part).to_contain_text("entries of the run’s index")

    # Its rows can be filtered, and the address holds the words.
    total = part.locator(".pairs li").count()
    part.get_by_label("Filter these rows").fill("piano")
    expect(part.locator(".where h3")).to_contain_text(f"of {total} rows")
    expect(part.locator(".pairs li")).not_to_have_count(total)
    expect_query(page, "words=piano", "of=Tiny Label")
    part.get_by_label("Filter these rows").fill("zzz")
    expect(part.locator(".where .empty")).to_have_text("No row holds “zzz”.")
    part.get_by_label("Filter these rows").fill("")
    expect(part.locator(".pairs li")).to_have_count(total)

    # The report comes as a file.
    with page.expect_download() as got:
        part.get_by_role("link", name="Evidence report").click()
    assert got.value.suggested_filename == "whence-tiny-label.html"

    # Hear it: the clip's player, at the moment.
    first.get_by_role("button", name="at its strongest moment").click()
    expect_query(page, "clip=1", "track=1", "start=moment", without=("view",))
    expect(page.get_by_role("tab", name="Listen")).to_have_attribute("aria-selected", "true")
    page.locator("#player .lane").first.wait_for()
    until(page, "player.passages()['1'] && player.passages()['1'][1] - player.passages()['1'][0] <= 1.6")
    # Beside the player: how sure, who else holds it in which role, that it is not the only rendering of its work.
    lane = page.locator('#player .lane[data-lane="1"]')
    expect(lane.locator(".chip")).to_contain_text("noise")
    expect(lane.locator(".place")).to_contain_text("one of 2 renderings of its work")
    expect(page.locator("#resemblance .remarks")).to_contain_text(f"{LABEL} (label) · {LABEL} (performer)")
    table = page.locator('#table tr[data-track="1"]')
    expect(table).to_contain_text(f"{LABEL} (label) · {LABEL} (performer)")
    page.locator("#table input.text").fill("tiny label")
    expect(page.locator("#table tbody tr")).to_have_count(8)
    page.locator("#table input.text").fill("")
    expect(page.locator("#table tbody tr")).to_have_count(40)
    page.go_back()
    expect(page.locator("#holders .chosen h3")).to_have_text(f"{LABEL}, label")

    # A passage that runs alike: both places of it.
    page.locator("#holders .passages button").first.click()
    expect_query(page, "clip=1", "track=1", "loop=1:0.50-1.25", "span=0.00-1.00")
    until(page, "String(player.passages()['1']) === '0.5,1.25'")


def test_a_whole_catalogue_is_unlearned_by_keys_and_stays_in_the_address(visit):
    page = visit("?view=holders&by=label&of=Tiny%20Label&rows=0")
    part = page.locator("#holders")
    button = part.get_by_role("button", name="Unlearn the whole catalogue")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(part.locator(".effects")).to_be_hidden()
    button.focus()
    page.keyboard.press("Enter")
    expect(part.locator(".whole")).to_contain_text("This is a claim about the catalogue")
    expect(part.locator(".effects tbody tr")).to_have_count(3)
    expect(part.locator(".effects")).to_contain_text("sum of raw scores")
    expect_query(page, "unlearn=1", "of=Tiny Label")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(button).to_be_focused()
    part.get_by_label("A track comes up where it is").select_option("100")
    expect_query(page, "unlearn=1", "up=100")
    expect(part.locator(".effects tbody tr")).to_have_count(3)  # another count leaves it open
    assert findings(page, "catalogue") == []
    page.reload()
    expect(part.locator(".effects tbody tr")).to_have_count(3)
    button.click()
    expect(part.locator(".whole p")).to_have_count(0)
    expect_query(page, without=("unlearn",))
    button.click()
    expect(part.locator(".effects tbody tr")).to_have_count(3)
    part.get_by_role("button", name="all groups").click()
    expect_query(page, without=("unlearn", "of"))


def test_the_address_is_enough(visit):
    page = visit("?view=holders&by=label&of=Tiny+Label&up=100")
    expect(page.locator("#holders .chosen h3")).to_have_text(f"{LABEL}, label")
    expect(page.get_by_label("A track comes up where it is")).to_have_value("100")
    expect(page.locator("#holders .pairs li")).to_have_count(24)
    page.get_by_label("A track comes up where it is").select_option("above")
    expect_query(page, "up=above", "of=Tiny Label")
    page.get_by_role("button", name="all groups").click()
    expect(page.locator("#holders .chosen")).to_be_hidden()
    expect_query(page, "by=label", without=("of",))


def test_the_method_can_be_changed_here(visit):
    page = visit()
    page.locator("#holders").get_by_label("Method").select_option("cosine")
    expect_query(page, "method=cosine", "view=holders")
    page.get_by_role("tab", name="Listen").click()
    expect(page.locator("#method input")).to_have_value("Gradient cosine")


def test_hostile_names_stay_text(visit):
    page = visit("?view=holders&by=label")
    page.get_by_role("button", name=HOSTILE_LABEL).click()
    expect(page.locator("#holders .chosen h3")).to_have_text(f"{HOSTILE_LABEL}, label")
    expect(page.locator("#holders .pairs .title").first).to_have_text("{{value}} `${alert(2)}`")
    expect(page.locator("#holders code")).to_contain_text("--of '<img src=x onerror=alert(6)>")
    assert page.locator("#holders img").count() == 0


def test_a_tab_opened_by_hand_is_filled(open_page, held_url):
    page = open_page("?clip=2", at=held_url)
    expect_lanes(page, 3, *lanes_after(page))
    page.get_by_role("tab", name="Holders").click()
    expect(page.locator("#holders .question")).to_have_count(4)
    expect_query(page, "view=holders", "clip=2")


def lanes_after(page):
    page.locator("#player .lane").nth(4).wait_for()
    return page.locator("#player .lane").evaluate_all("(parts) => parts.map((part) => part.dataset.lane)")[2:]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_used_by_all(visit, scheme):
    page = visit(
        "?view=holders&by=label&of=Tiny+Label&up=100", viewport={"width": 390, "height": 844}, color_scheme=scheme
    )
    found = findings(page, f"phone, {scheme}", "#holders")
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert (width, page.evaluate(OUTSIDE.replace(".clips)", ".clips, .holders)"))) == (width, [])
    found += findings(page, f"desk, {scheme}", "#holders")
    assert not found, "\n".join(found)


def test_a_report_opens_offline_without_script(browser, held_path: Path, tmp_path: Path):
    store = Store(held_path)
    views = StoreViews(store)
    context = browser.new_context(offline=True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda box: (said.append(box.message), box.dismiss()))
    page.on("request", lambda sent: asked.append(sent.url))
    for evidence in (
        gather_holder_evidence(views, LABEL, "label"),
        gather_holder_evidence(views, HOSTILE_LABEL, "label"),
        gather_clip_evidence(views, 2),
    ):
        file = tmp_path / f"{len(asked)}.html"
        file.write_text(render_html(evidence), encoding="utf-8")
        page.goto(file.as_uri())
        expect(page.get_by_role("heading", name="What this cannot tell")).to_be_visible()
        expect(page.locator("svg").first).to_be_visible()
        # Sound plays from inside the file.
        page.locator("audio").first.evaluate("(audio) => { audio.muted = true; return audio.play(); }")
        page.wait_for_function("document.querySelector('audio').duration > 1")
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        # A row reads from top to bottom, over the whole width.
        cell = page.locator(".wide td").first.bounding_box()
        assert cell["width"] > 300
        expect(page.locator(".licences p").first).to_contain_text("Licence 1: ")
        page.set_viewport_size({"width": 1100, "height": 844})
        assert findings(page, file.name) == []
        pages = page.pdf(format="A4")
        assert pages.startswith(b"%PDF") and pages.count(b"/Type /Page") > 2
        page.emulate_media(media="print")
        expect(page.locator("audio").first).to_be_hidden()
        page.emulate_media(media="screen")
    assert not said and all(url.startswith(("file:", "data:")) for url in asked), (said, asked)
    context.close()
    store.close()
