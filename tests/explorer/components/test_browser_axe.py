"""Accessibility by axe-core: no serious and no critical finding, in both themes, on a desk and on a phone."""

from __future__ import annotations

import pytest

from support.browsing import drag, expect, expect_query, findings, lane, open_tab, press

pytestmark = pytest.mark.browser
# The list of clips flies in, on its own clock: opaque for twelve frames on end, it is there.
STILL = """() => new Promise((done) => {
  let frames = 0;
  const look = () => {
    const list = document.querySelector("ul[role=listbox]");
    frames = list && getComputedStyle(list).opacity === "1" ? frames + 1 : 0;
    if (frames < 12) requestAnimationFrame(look);
    else done(true);
  };
  look();
})"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding(open_page, made, scheme, width):
    # A silent lane, a decoy, what is above noise and what is not, a chosen row, a passage.
    page = open_page(
        f"?clip=1&lanes=1,25,{made.FORBIDDEN},45&decoys=1&in=Musopen",
        viewport={"width": width, "height": 844},
        color_scheme=scheme,
    )
    drag(page, lane(page, 1).locator(".wave"), 0.2, 0.6)
    page.get_by_role("button", name="What this run found").click()
    expect(page.locator("#findings")).to_be_visible()
    found = findings(page, "listen")
    page.get_by_label("Filter", exact=True).fill("no such track")
    expect(page.locator("#table .empty")).to_be_visible()
    page.locator("#player .help").click()
    found += findings(page, "keys", "dialog.keys")  # the rest is out of reach now
    press(page, "Escape")
    drag(page, lane(page, "clip").locator(".wave"), 0.53, 0.72)
    expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s")
    page.locator("#clip input").click()
    page.wait_for_function(STILL)
    found += findings(page, "span and list of clips")
    press(page, "Escape")
    open_tab(page, "All clips")
    page.locator("#overview .controls summary").click()
    expect(page.locator("#overview .known .card-of").first).to_be_visible()
    found += findings(page, "clips")
    open_tab(page, "Compare")
    expect(page.locator("#heat .xtick text").first).to_be_visible()
    found += findings(page, "compare")
    open_tab(page, "Where is it wrong")
    expect_query(page, "view=wrong")
    page.get_by_role("button", name="Write a note on").first.click()
    expect(page.locator("#diagnostics .parts rect").first).to_be_visible()
    found += findings(page, "where it is wrong")
    open_tab(page, "How to read this")
    expect(page.locator("#guide h2").first).to_be_visible()
    found += findings(page, "guide")
    assert not found, "\n".join(found)


def test_the_way_in_has_no_serious_finding(browser, locked_url):
    context = browser.new_context()
    page = context.new_page()
    page.goto(locked_url[0])
    assert findings(page, "sign in") == []
    page.evaluate("document.body.append(document.createElement('button'))")
    assert "button-name (critical)" in findings(page, "planted")[0]  # it does look
    context.close()
