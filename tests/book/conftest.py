"""The book as its readers get it: built once, opened in Chromium from disk and over HTTP, the outside blocked."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder import book as bookbuilder

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "chapters" / "_ext"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book: the one ``make book`` has just made, else a new one."""
    made = ROOT / "_build" / "html"
    index = made / "index.html"
    if index.exists() and index.stat().st_mtime >= bookbuilder.newest():
        return made
    try:
        return bookbuilder.build(ROOT)
    except bookbuilder.BookError as error:
        pytest.fail(str(error), pytrace=False)


class Tab:
    """One page in the browser, and what it asked for and complained about."""

    def __init__(self, browser, base: str, formulas: bool = True, **options):
        self.base, self.formulas = base, formulas
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        self.page = self.context.new_page()
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.context.route("**/*", self._route)
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)

    def _route(self, route) -> None:
        if not self.formulas and "/mathjax/" in route.request.url:  # they take most of a page's time
            return route.abort()
        if route.request.url.startswith((self.base, "data:", "blob:")):
            return route.continue_()
        self.outside.append(route.request.url)
        return route.abort()

    def open(self, name: str):
        """Go to a page of the book by its name without ``.html``; wait for formulas and charts."""
        self.page.goto(f"{self.base}{name}.html")
        if self.formulas and self.page.locator(".math").count():
            self.page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
            self.page.evaluate("MathJax.startup.promise.then(() => true)")
        return self.page

    def wake(self) -> None:
        """Scroll to each chart and wait until it is interactive."""
        for chart in self.page.locator(".course-chart").all():
            chart.scroll_into_view_if_needed()
            chart.locator(".course-chart-live svg").wait_for(timeout=30_000)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium, headless. Where there is none, tests are skipped, but in continuous integration they fail."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("Chromium is missing: 'make setup' installs it on Debian, or put 'chromium' on PATH.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        running = playwright.chromium.launch(executable_path=found, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="session")
def served(html: Path) -> Iterator[str]:
    """The book's address on a local web server."""
    handler = functools.partial(bookbuilder.Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def tab(html: Path, browser) -> Iterator:
    """Opens tabs on the book: ``tab(served, formulas=False, color_scheme="dark", ...)``; by default from disk."""
    tabs: list[Tab] = []

    def opened(base: str | None = None, **options) -> Tab:
        tabs.append(Tab(browser, base or f"{html.as_uri()}/", **options))
        return tabs[-1]

    yield opened
    for one in tabs:
        one.context.close()
