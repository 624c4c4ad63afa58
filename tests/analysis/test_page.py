"""The page in a browser: headless Chromium, where one is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if not program:
        pytest.skip("no Chromium here; the environment variable CHROMIUM may name one")
    with sync_api.sync_playwright() as playwright:
        # Inside a container there is no other sandbox to be had.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """The report in a window, and what went wrong there."""

    def __init__(self, browser: Any, report: Path, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto((report / "index.html").as_uri())
        self.page.wait_for_timeout(200)


@pytest.fixture
def opened(browser: Any, analysis_report: Path) -> Iterator[Opened]:
    opened = Opened(browser, analysis_report)
    yield opened
    assert opened.faults == []
    assert opened.asked == [(analysis_report / "index.html").as_uri()]
    opened.page.context.close()


def test_every_figure_is_drawn_and_has_a_sentence(opened):
    figures = opened.page.locator("figure:not(.map)")
    assert figures.count() == 12
    for at in range(figures.count()):
        figure = figures.nth(at)
        box = figure.locator("svg").bounding_box()
        assert box["width"] > 250
        assert box["height"] > 150
        assert len(figure.locator("figcaption").inner_text()) > 40
    ids = opened.page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_a_click_sorts_the_table(opened):
    page = opened.page

    def column(at: int) -> list[float]:
        texts = page.locator(f"#table tbody tr > :nth-child({at})").evaluate_all(
            "(cells) => cells.map((cell) => cell.dataset.value)"
        )
        return [float(text) for text in texts if text]

    head = page.locator("#table thead button").nth(1)
    before = column(2)
    head.click()
    assert column(2) == sorted(before, reverse=True)
    head.click()
    assert column(2) == sorted(before)
    assert page.locator("#table thead th").nth(1).get_attribute("aria-sort") == "ascending"
    page.locator("#table thead button").nth(2).click()
    # The backbone has no gain: it stays last whichever way.
    assert page.locator("#table tbody tr").last.locator("th").inner_text().strip() == "LightGCN"
    page.locator("#table thead button").first.click()
    assert column(1) == [0, 1, 2]


def test_the_selector_shows_one_case_at_a_time(opened):
    page = opened.page
    visible = page.locator("article.case:visible")
    assert visible.count() == 1
    assert "chosen" in visible.inner_text()
    options = page.locator("#case option").evaluate_all("(all) => all.map((o) => o.value)")
    assert len(options) == len(set(options)) == page.locator("article.case").count()
    page.locator("#case").select_option(options[4])
    assert visible.count() == 1
    assert visible.get_attribute("data-case") == options[4]
    assert visible.locator(".column").count() == 4
    assert visible.locator("li").count() == 40
    page.locator("#next").click()
    assert visible.get_attribute("data-case") == options[5]
    page.locator("#previous").click()
    assert visible.get_attribute("data-case") == options[4]
    entry = visible.locator("li").first
    entry.hover()
    assert "pointed-at" in entry.get_attribute("class")


INK = """(canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 3; at < data.length; at += 4) count += data[at] > 0;
  return count;
}"""


def test_maps_are_drawn_filtered_and_pointed_at(opened):
    page = opened.page
    canvases = page.locator(".plane canvas:first-child")
    assert canvases.count() == 4
    before = [canvases.nth(at).evaluate(INK) for at in range(4)]
    assert min(before) > 300
    page.locator("#clusters button").first.click()
    after = [canvases.nth(at).evaluate(INK) for at in range(4)]
    assert all(0 < new < old for new, old in zip(after, before, strict=True))
    page.locator("#clusters button").first.click()
    assert [canvases.nth(at).evaluate(INK) for at in range(4)] == before

    plane = page.locator(".plane").nth(1)
    plane.scroll_into_view_if_needed()
    place = plane.evaluate("(plane) => place(1, 5, plane.clientWidth)")
    plane.hover(position={"x": place[0], "y": place[1]})
    pointed = page.evaluate("pointed")
    assert pointed >= 0
    title = page.evaluate("data.titles[pointed]")
    assert page.locator("#pointed").inner_text() == title
    marks = page.locator(".plane .marks")
    assert min(marks.nth(at).evaluate(INK) for at in range(4)) > 100
    plane.click(position={"x": place[0], "y": place[1]})
    page.mouse.move(5, 5)
    assert page.locator("#pointed").inner_text() == title


def background(page: Any) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_and_light_follow_the_system_and_the_button(browser, analysis_report):
    grounds = {}
    for scheme in ("light", "dark"):
        opened = Opened(browser, analysis_report, color_scheme=scheme)
        grounds[scheme] = background(opened.page)
        opened.page.locator("#theme").click()
        other = background(opened.page)
        assert other != grounds[scheme]
        opened.page.locator("#theme").click()
        assert background(opened.page) == grounds[scheme]
        word = opened.page.locator(".plot svg text").first
        ink = word.evaluate("(text) => getComputedStyle(text).fill")
        expected = opened.page.locator(".lead").first.evaluate("(p) => getComputedStyle(p).color")
        assert ink == expected
        assert opened.faults == []
        opened.page.context.close()
    assert grounds["light"] != grounds["dark"]


def test_nothing_is_wider_than_a_phone(browser, analysis_report):
    opened = Opened(browser, analysis_report, viewport={"width": 360, "height": 740})
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    for figure in opened.page.locator("figure").all():
        box = figure.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    assert opened.faults == []
    opened.page.context.close()


def test_the_page_needs_nothing_but_itself(analysis_report, browser, tmp_path):
    shutil.copy(analysis_report / "index.html", tmp_path / "index.html")
    opened = Opened(browser, tmp_path, offline=True)
    assert opened.page.locator("figure svg").count() == 12
    assert opened.faults == []
    opened.page.context.close()
