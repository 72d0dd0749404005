"""Chromium for the pages that the report room makes: opened from disk, with no network to ask."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def report_of(tmp_path_factory):
    """The document of one fabricated report, which no test changes."""
    from core.params import load_params
    from stages import aggregate
    from tests.report.fabricate import fabricate

    folder = fabricate(tmp_path_factory.mktemp("project"), speakers=6, clips=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return aggregate.main("all", load_params())


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, index: Path):
    """Opens the module's page `index`, and fails at the end if it logged an error or asked for anything but files."""
    contexts, troubles = [], []

    def make(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: troubles.append(str(e)))
        page.on("request", lambda r: troubles.append(r.url) if not r.url.startswith(("file://", "data:")) else None)
        page.on("requestfailed", lambda r: troubles.append(f"failed: {r.url}") if not r.url.endswith(".mp4") else None)
        page.goto(index.as_uri())
        return page

    yield make
    for context in contexts:
        context.close()
    assert troubles == []
