"""Reports in a browser: accessible on every screen and on paper, without scripts or a network."""

import re
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from dataloader.replication import Outcome
from dataloader.report import render
from tests.support.marks import THOROUGH
from tests.support.report_samples import KINDS, every_kind

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    THOROUGH,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: apt install chromium)"),
]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
EVERY_RULE = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
CONTRAST = {"type": "rule", "values": ["color-contrast"]}


class Media(TypedDict, total=False):
    """The media settings of the browser."""

    media: Literal["screen", "print"]
    color_scheme: Literal["light", "dark"]
    forced_colors: Literal["active", "none"]


LIGHT: Media = {"media": "screen", "color_scheme": "light", "forced_colors": "none"}
DARK: Media = {**LIGHT, "color_scheme": "dark"}
FORCED: Media = {**DARK, "forced_colors": "active"}
PAPER: Media = {**DARK, "media": "print"}
"""Printed from a screen in dark mode."""
DESKTOP, PHONE = 1280, 360
"""The width in pixels."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of every kind."""
    folder = tmp_path_factory.mktemp("reports")
    for kind, report in every_kind(folder).items():
        (folder / f"{kind}.html").write_bytes(render(report))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, started once."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Page:
    """A browser tab that shows one page after another."""
    return browser.new_page()


@pytest.fixture(scope="module")
def small_tab(browser: Browser) -> Page:
    """A browser tab that shows pages at a tenth of their size."""
    return browser.new_page(device_scale_factor=0.1)


Show = Callable[..., Page]


@pytest.fixture
def show(tab: Page, folder: Path) -> Show:
    """Return a function that shows a kind of page with media settings and a width in pixels."""

    def show(kind: str, media: Media = LIGHT, width: int = DESKTOP) -> Page:
        tab.set_viewport_size({"width": width, "height": 800})
        tab.emulate_media(**media)
        tab.goto((folder / f"{kind}.html").as_uri())
        return tab

    return show


def violations(page: Page, run_only: dict[str, Any]) -> list[str]:
    """Return the violations that axe-core finds on a page, one line for each rule."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    options = {"runOnly": run_only, "resultTypes": ["violations"], "preload": False}
    found = page.evaluate("options => axe.run(document, options)", options)
    assert found["passes"]
    return [
        f"{each['id']} ({each['help']}): {'; '.join(node['html'][:200] for node in each['nodes'])}"
        for each in found["violations"]
    ]


@EACH_KIND
def test_page_is_accessible(show: Show, kind: str) -> None:
    """The checker axe-core finds no violations (WCAG 2.2 A and AA, best practices), with any media settings."""
    page = show(kind)
    assert violations(page, EVERY_RULE) == []
    for media in (DARK, FORCED, PAPER):
        page.emulate_media(**media)
        assert violations(page, CONTRAST) == [], media
    page.emulate_media(**LIGHT)
    page.set_viewport_size({"width": PHONE, "height": 800})
    assert violations(page, EVERY_RULE) == []


PICTURES = Path(__file__).parent / "pictures"
"""Pictures of each page, as last inspected; ``pytest tests/report --write-docs`` takes new ones."""
ALIKE = 6.0
"""The mean difference, of 255, between two pictures of a page whose UUIDs differ."""


COMPARE = """async pictures => {
    const [old, now] = await Promise.all(pictures.map(async picture => {
        const bytes = Uint8Array.from(atob(picture), letter => letter.charCodeAt(0));
        const image = await createImageBitmap(new Blob([bytes]));
        const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, image.width, image.height);
    }));
    const colours = [...old.data.slice(0, now.data.length).keys()].filter(at => at % 4 < 3);
    const difference = colours.reduce((sum, at) => sum + Math.abs(old.data[at] - now.data[at]), 0) / colours.length;
    return [old.width - now.width, old.height - now.height, difference];
}"""
"""Returns how much wider and higher a picture is than another, and the mean difference of their colours."""


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@EACH_KIND
def test_page_looks_as_last_inspected(
    small_tab: Page, folder: Path, kind: str, width: int, request: pytest.FixtureRequest
) -> None:
    """A small picture of each page equals the last inspected one, except for UUIDs and fonts."""
    # Text next to a UUID may wrap differently, which is invisible at a tenth of the size.
    small_tab.set_viewport_size({"width": width, "height": 800})
    small_tab.goto((folder / f"{kind}.html").as_uri())
    picture = small_tab.screenshot(full_page=True)
    fonts = small_tab.evaluate(
        "() => { const c = document.createElement('canvas').getContext('2d');"
        "c.font = getComputedStyle(document.body).font; return c.measureText('Cards 0123456789 gjpqy').width }"
    )
    path = PICTURES / f"{kind}-{width}.png"
    known = PICTURES / "font.txt"
    if request.config.getoption("--write-docs"):
        PICTURES.mkdir(exist_ok=True)
        path.write_bytes(picture)
        known.write_text(f"{fonts}\n")
        return
    if known.read_text().strip() != str(fonts):
        pytest.skip("the pictures were taken with another font")
    pictures = [b64encode(each).decode() for each in (path.read_bytes(), picture)]
    wider, higher, difference = small_tab.evaluate(COMPARE, pictures)
    assert wider == 0
    assert abs(higher) <= 4, "the page is longer or shorter"
    assert difference < ALIKE, f"{kind}: look at it, then run pytest tests/report --write-docs"


@EACH_KIND
def test_page_fits_a_phone(show: Show, kind: str) -> None:
    """At a width of 360 pixels nothing overflows, not even the longest names."""
    page = show(kind, width=PHONE)
    over_the_edge = """() => [...document.querySelectorAll("body *")]
        .filter(each => !each.closest("caption, .stacks thead, defs"))
        .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5)
        .map(each => each.outerHTML.slice(0, 100))"""
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    assert page.evaluate(over_the_edge) == []


def test_page_fits_with_large_text(show: Show) -> None:
    """With text twice as large (WCAG 1.4.4) nothing overflows."""
    page = show("load-attention")
    page.add_style_tag(content="html { font-size: 200% !important }")
    assert page.evaluate("document.documentElement.scrollWidth") == DESKTOP


@EACH_KIND
def test_printed_page_is_white(show: Show, kind: str) -> None:
    """Dark backgrounds are not printed, even from a screen in dark mode."""
    page = show(kind, PAPER)
    backgrounds = "() => [...document.querySelectorAll('*')].map(each => getComputedStyle(each).backgroundColor)"
    assert {*page.evaluate(backgrounds)} == {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}


def test_page_needs_no_script_and_no_network(browser: Browser, folder: Path) -> None:
    """With JavaScript turned off, the page is complete, and makes no other requests."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    for kind in KINDS:
        asked.clear()
        page.goto((folder / f"{kind}.html").as_uri())
        assert page.get_by_role("heading", level=1).is_visible()
        page.get_by_text("The run", exact=True).click()
        assert page.get_by_text("Exit code", exact=True).is_visible()
        assert asked == [(folder / f"{kind}.html").as_uri()]
    assert complaints == []
    context.close()


def test_page_is_readable_by_a_screen_reader(show: Show) -> None:
    """It has landmarks, headings in order, a text for the picture, and tables with headings."""
    said = show("verify-bad").locator("html").aria_snapshot()
    assert re.search(r'- banner:.*- heading "5 of 500 cards would not work." \[level=1\]', said, re.DOTALL), said
    for line in (
        "- main",
        '- heading "What needs attention" [level=2]',
        '- heading "4 cards missing" [level=3]',
        '- img "The shares of 500 cards"',
        '- table "The shares of 500 cards"',
        '- table "Cards with the verdict missing"',
        "- contentinfo",
    ):
        assert line in said


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_table_is_still_a_table_on_a_narrow_screen(show: Show, width: int) -> None:
    """Stacked cells are still cells of a table, each with the heading of its column."""
    table = show("verify-bad", width=width).get_by_role("table", name="Cards with the verdict missing")
    assert table.get_by_role("columnheader").all_text_contents() == ["Card", "What was found"]
    assert table.get_by_role("row").count() == 2
    assert table.get_by_role("rowheader").all_text_contents() == ["1 to 4"]


def test_page_can_be_printed(show: Show) -> None:
    """On as few sheets as necessary."""
    assert 1 <= show("load").pdf(format="A4").count(b"/Type /Page\n") <= 2
    assert 3 <= show("load-attention").pdf(format="A4").count(b"/Type /Page\n") <= 6


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_picture_is_drawn(show: Show, width: int) -> None:
    """Each share is in the bar, in order, wide enough to be visible, and with its own pattern."""
    page = show("load-attention", width=width)
    parts = page.locator(".bar rect.part")
    boxes: list[tuple[float, float]] = parts.evaluate_all(
        "parts => parts.map(part => [part.x.baseVal.value, part.width.baseVal.value])"
    )
    fills = {part.get_attribute("fill") for part in parts.all()}
    bar = page.locator(".bar").bounding_box()
    assert bar is not None
    assert len(fills) == len(boxes) == len(Outcome)
    assert fills == {f"url(#{each.get_attribute('id')})" for each in page.locator(".bar pattern").all()}
    end = 0.0
    for x, wide in boxes:
        assert x == pytest.approx(end, abs=0.1)
        assert wide >= bar["width"] * 0.007
        end = x + wide
    assert end == pytest.approx(bar["width"], abs=0.1)
