"""Opened by people, a page complains of nothing and asks for nothing."""

import json
import shutil
import subprocess

import pytest

from biosig_cli.report.evaluation_material import Material
from biosig_cli.report.evaluation_page import write_evaluation_page
from biosig_cli.report.reconstruction_page import write_reconstruction_page
from tests.drawings import material
from tests.evaluations import classification
from tests.more_evaluations import reconstruction, regression


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Open a page in a browser; return what it says and whom the page asks."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")

    def opened(page):
        log, shot = folder / "net.json", folder / "page.png"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}"]
        command += [f"--log-net-log={log}", f"--screenshot={shot}", "--window-size=1100,6000"]
        # Without a network at all: every name leads nowhere.
        command += ["--host-resolver-rules=MAP * ~NOTFOUND", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert shot.stat().st_size > 1000, done.stderr
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return said, asked_by_page(json.loads(log.read_text("utf-8"))), shot.stat().st_size

    return opened


def asked_by_page(log):
    """Return the addresses that a page asked for, without what the browser asks for itself."""
    asked = [event.get("params") or {} for event in log["events"]]
    return [
        each["url"]
        for each in asked
        if "url" in each and each.get("initiator", "not an origin") != "not an origin"
    ]


@pytest.mark.parametrize("make", [lambda: classification(n_models=2), regression, reconstruction])
def test_the_page_opens_in_a_browser_and_asks_for_nothing(make, browse, tmp_path):
    metrics = make()
    path = tmp_path / "report.html"
    kind = metrics["task"]["kind"]
    writer = write_reconstruction_page if kind == "reconstruction" else write_evaluation_page
    writer(path, metrics, drawn=material(metrics))
    complaints, asked, size = browse(path)
    assert complaints == []
    assert asked == []
    assert size > 100_000


def test_the_browser_would_notice_what_a_page_asks_for(browse, tmp_path):
    image = '<img src="http://example.invalid/a.png" alt="">'
    free = tmp_path / "free.html"
    free.write_text(f"<!DOCTYPE html>{image}")
    assert browse(free)[1] == ["http://example.invalid/a.png"]
    bound = tmp_path / "bound.html"
    write_evaluation_page(bound, classification(), drawn=Material())
    bound.write_text(bound.read_text("utf-8").replace("<header>", f"<header>{image}"))
    complaints, asked, _ = browse(bound)
    assert asked == []
    assert "example.invalid" in complaints[0]
