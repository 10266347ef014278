"""A real browser for pages that open from disk: the fixture ``page_of`` of all tests in this folder."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REQUIRED = "PALETTE_BENCH_BROWSER"
"""With the value ``required`` in this variable, a missing browser is a failure."""
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class OpenPage:
    """A page over ``file://``, what its console complained of, and every address that it asked for."""

    page: "Page"
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def requests_outside(self, folder: Path) -> list[str]:
        """The addresses that are neither below ``folder`` nor data within the page."""
        return [address for address in self.requests if not _within(address, folder.resolve())]


def _within(address: str, folder: Path) -> bool:
    parts = urlsplit(address)
    if parts.scheme in ("data", "blob"):
        return True
    return parts.scheme == "file" and Path(unquote(parts.path)).resolve().is_relative_to(folder)


def _missing(reason: str) -> None:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{reason}, and {REQUIRED}=required")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Headless Chromium with a profile of its own, started once."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("no browser test: the package playwright is not installed (pip install 'palette-bench[browser]')")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        _missing(f"no browser test: none of {', '.join(PROGRAMS)} is installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        # Playwright makes a profile of its own for every launch, and removes it.
        started = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield started
        started.close()


PageOf = Callable[..., OpenPage]


@pytest.fixture
def page_of(browser: "Browser") -> Iterator[PageOf]:
    """``page_of(path)``, or with ``dark=True``: open a file as by double-click; nothing but files can be loaded."""
    contexts = []

    def open_page(path: Path, *, dark: bool = False, width: int = 1280, height: int = 900) -> OpenPage:
        scheme: Literal["dark", "light"] = "dark" if dark else "light"
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        contexts.append(context)
        context.set_default_timeout(10_000)
        context.route(lambda address: urlsplit(address).scheme in ("http", "https"), lambda route: route.abort())
        open_page = OpenPage(context.new_page())
        open_page.page.on(
            "console", lambda message: open_page.errors.append(message.text) if message.type == "error" else None
        )
        open_page.page.on("pageerror", lambda error: open_page.errors.append(str(error)))
        open_page.page.on("request", lambda request: open_page.requests.append(request.url))
        open_page.page.goto(path.resolve().as_uri())
        return open_page

    yield open_page
    for context in contexts:
        context.close()
