"""A listening session in three browsers: a host and two musicians. What each sees, hears and keeps."""

from __future__ import annotations

import csv
import re

import pytest

from support.browsing import expect, press
from support.listening import KEY

pytestmark = pytest.mark.browser
GRAVE = ("serious", "critical")
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}


@pytest.fixture(autouse=True)
def patient():
    """Making a session decodes and measures every track in it."""
    expect.set_options(timeout=40_000)
    yield
    expect.set_options(timeout=5_000)


def findings(page, where):
    """The grave violations that axe-core reports."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    found = axe().run(page).response["violations"]
    return [f"{where}: {one['id']} {one['nodes'][0]['target']}" for one in found if one["impact"] in GRAVE]


def get(page, what):
    return page.evaluate(f"() => {{ const {{ session, transport, queue, index }} = window.listening; return {what}; }}")


def until(page, what):
    page.wait_for_function(
        f"() => {{ const {{ session, transport, queue, index }} = window.listening; return {what}; }}"
    )


def begin(page, nickname):
    page.get_by_label("Nickname").fill(nickname)
    page.get_by_label("I agree").check()
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#way-code")).to_have_text(re.compile(r"^\w{4}-\w{4}-\w{4}$"))
    code = page.locator("#way-code").inner_text()
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(page.locator("#rating")).to_be_visible()
    return code


def flat(page, lane):
    """True where the lane shows a line and no waveform: inked rows of the canvas."""
    rows = page.evaluate(
        """(lane) => {
          const canvas = document.querySelector(`.lane[data-lane="${lane}"] .wave canvas`);
          const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [...Array(height).keys()].filter((y) =>
            [...Array(width).keys()].some((x) => data[4 * (y * width + x) + 3] > 0)).length;
        }""",
        lane,
    )
    assert rows > 0
    return rows <= 3


def fits(page):
    """Nothing reaches beyond the window."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_three_browsers_in_one_session(sessions_url, open_page, tmp_path):
    at = sessions_url
    host = open_page(f"host#{KEY}", at=at, may_fail=("/host/state",))
    host.get_by_role("button", name="New session").click()
    assert KEY not in host.url
    host.get_by_label("Title, as listeners see it").fill("<img src=x onerror=alert(1)> ${1+1}")
    host.get_by_role("button", name="None").click()
    host.locator("#clips input").first.check()
    host.get_by_label("k strongest").fill("2")
    host.get_by_label("Where a track's influence on the clip is strongest").check()
    found = findings(host, "form")
    host.get_by_role("button", name="Make the session").click()
    expect(host.locator("#one h2").first).to_contain_text("<img src=x onerror=alert(1)> ${1+1}")
    link = host.locator("#one a[href*='/session/']").inner_text()
    query = link.removeprefix(f"{at}/")

    desk, phone = open_page(query, at=at), open_page(query, at=at, may_fail=("/join",), **PHONE)
    found += findings(desk, "welcome") + findings(phone, "welcome, dark")
    begin(desk, "Clara")
    phone.get_by_label("Nickname").fill("clara")
    phone.get_by_label("I agree").check()
    phone.get_by_role("button", name="Begin").click()
    expect(phone.locator("#said")).to_have_text(re.compile("^Somebody has that nickname already: choose another"))
    code = begin(phone, "Robert")
    fits(phone)

    # The desk: by keys alone. Clip and track run at once, and a switch only moves gains.
    press(desk, " ")
    until(desk, "transport.playing && transport.round().voices.size === 2")
    press(desk, "t")
    expect(desk.locator('.lane[data-lane="pair"] .listen')).to_have_attribute("aria-pressed", "true")
    assert get(desk, "transport.playing && transport.round().voices.size === 2 && transport.sounding === 'pair'")
    press(desk, "4", "3", "2", "5", "1", "2")
    expect(desk.locator("#saved")).to_have_text("Saved")
    assert get(desk, "Object.values(session.pairs[0].answers).join('')") == "432512"
    desk.get_by_label("A note, if you like").fill("=HYPERLINK(1)")
    desk.get_by_role("button", name="Next").click()
    until(desk, "index === 1 && !transport.playing && !queue.unsaved")
    assert flat(desk, "clip") and flat(desk, "pair")  # equal sounds are not to be seen
    assert "Track" in desk.locator('.lane[data-lane="pair"]').inner_text()
    found += findings(desk, "pair") + findings(phone, "pair, dark")

    # The phone: by touch.
    for question in range(6):
        phone.locator(".question").nth(question).locator("label").nth(4).click()
    expect(phone.locator("#saved")).to_have_text("Saved")

    # On another device, by the code: where the phone was, with what it answered; a wrong code is said to be one.
    tablet = open_page(query, at=at, may_fail=("/resume",), **PHONE)
    tablet.get_by_label("Your code").fill("0000-0000-0000")
    tablet.get_by_role("button", name="Go on where I was").click()
    expect(tablet.locator("#said")).to_have_text("No listener of this session has that code.")
    found += findings(tablet, "code, dark")
    fits(tablet)
    tablet.get_by_label("Your code").fill(code.lower())
    tablet.get_by_role("button", name="Go on where I was").click()
    expect(tablet.locator("#who")).to_have_text("as Robert")
    expect(tablet.locator("#where")).to_have_text("Pair 2 of 8")  # the first without an answer
    press(tablet, "p")
    expect(tablet.locator("input[name=timbre][value='5']")).to_be_checked()
    by_link = open_page(f"{query}#{code}", at=at)
    expect(by_link.locator("#who")).to_have_text("as Robert")
    assert code not in by_link.url
    by_link.close()
    tablet.get_by_role("button", name="Go on on another device").click()
    tablet.get_by_role("button", name="Make a new code").click()
    expect(tablet.locator("#way-code")).not_to_have_text(code)
    found += findings(tablet, "new code, dark")
    tablet.get_by_role("button", name="Go on", exact=True).click()
    expect(tablet.locator("#rating")).to_be_visible()
    tablet.close()

    # A reload changes nothing, and the explorer stays shut.
    desk.reload()
    expect(desk.locator("#where")).to_have_text("Pair 2 of 8")
    press(desk, "p")
    expect(desk.get_by_label("A note, if you like")).to_have_value("=HYPERLINK(1)")
    expect(desk.locator("input[name=overall][value='4']")).to_be_checked()

    total = get(desk, "session.pairs.length")
    for page in (desk, phone):
        for pair in range(total):
            page.evaluate(f"listening.go({pair})")
            if pair:
                press(page, "3", "3", "3", "3", "3", "3")
        page.evaluate(f"listening.go({total})")
        until(page, "!queue.unsaved")
        expect(page.locator("#end-title")).to_have_text("Thank you: every pair has an answer")
    phone.get_by_role("button", name="Is the reveal open?").click()
    expect(phone.locator("#end-text")).to_contain_text("Not yet")

    # The host sees both, and what their ratings say.
    expect(host.locator("#one")).to_contain_text("Clara")
    expect(host.get_by_role("row", name="Robert")).to_contain_text("8 of 8")
    expect(host.locator("#one .pictures svg")).to_have_count(3)
    found += findings(host, "results")
    with host.expect_download() as download:
        host.get_by_role("link", name="CSV", exact=True).click()
    download.value.save_as(tmp_path / "ratings.csv")
    with (tmp_path / "ratings.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 16 and "'=HYPERLINK(1)" in {row["note"] for row in rows}
    host.get_by_role("button", name="Open the reveal").click()
    host.locator("#yes").click()
    expect(host.locator("#one .badge")).to_have_text("revealed")

    for page in (desk, phone):  # by itself, or by the button
        expect(page.locator("#reveal table")).to_be_visible(timeout=30_000)
        expect(page.locator("#reveal")).to_contain_text("a decoy, which the model never heard")
        fits(page)
    found += findings(phone, "reveal, dark")
    desk.get_by_role("button", name="Hear").first.click()
    expect(desk.locator("input[name=overall]").first).to_be_disabled()
    until(desk, "transport.lanes.get('clip').buffer")
    assert not flat(desk, "clip")
    desk.get_by_role("button", name="Back to the reveal").click()
    expect(desk.locator("#reveal table")).to_be_visible()

    phone.get_by_role("button", name="Delete my nickname").click()
    phone.locator("#gone").click()
    expect(phone.locator("#said")).to_have_text("All that was kept of you is deleted.")
    expect(host.get_by_role("row", name="Robert")).to_have_count(0)
    assert found == []


def test_an_answer_that_did_not_arrive_is_sent_again(sessions_url, open_page):
    host = open_page(f"host#{KEY}", at=sessions_url, may_fail=("/host/state",))
    host.get_by_role("button", name="New session").click()
    host.get_by_label("Title, as listeners see it").fill("Thursday")
    host.get_by_role("button", name="Make the session").click()
    link = host.locator("#one a[href*='/session/']").inner_text()
    page = open_page(link.removeprefix(f"{sessions_url}/"), at=sessions_url, may_fail=("/rate",))
    begin(page, "Clara")
    page.context.route("**/rate", lambda route: route.abort())
    press(page, "4")
    expect(page.locator("#saved")).to_have_text("Not saved yet (the server cannot be reached): trying again …")
    press(page, "2")
    page.context.unroute("**/rate")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(page.locator("input[name=overall][value='4']")).to_be_checked()
    expect(page.locator("input[name=melody][value='2']")).to_be_checked()
