"""The report in a real browser: headless Chromium, driven by the distribution's own
driver.
"""

import base64
import json
import shutil
import time
from importlib import resources
from pathlib import Path

import pytest

from mergetrace.records.verdict import Verdict
from mergetrace.report import overview
from mergetrace.report.page import draw, page
from mergetrace.testing.reporting import finding, inputs

pytestmark = pytest.mark.real
PHONE = (390, 844)
LAPTOP = (1280, 800)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed"
    )
    chromium = shutil.which("chromium")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(
            f"no {'chromium' if not chromium else 'chromedriver'} here; apt-get install"
            " chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A small report, one of 60 layers, and one full of hostile text."""
    folder = tmp_path_factory.mktemp("pages")
    evil = (
        "<script>document.title='owned'</script><img src='https://example.org/x'"
        " onerror='document.title=\"owned\"'>"
    )
    verdict = finding() | {"reasons": [evil, "A" * 5000]}
    answers = [
        {
            "prompt": evil,
            "text": evil,
            "rendered": evil,
            "condition": "shipped",
            "answer": evil + "W" * 2000,
            "finish": "stop",
        }
    ]
    hostile = inputs(
        verdict=verdict,
        tensors=inputs().tensors.assign(tensor=evil + "x" * 500),
        answers={"rio": answers},
    )
    wide = inputs((60, 10, 4))
    wide = inputs(
        (60, 10, 4),
        tensors=wide.tensors.assign(
            component=wide.tensors["component"].replace("mlp", "routed_experts")
        ),
    )
    given = {"small": inputs(), "wide": wide, "hostile": hostile}
    for name, value in given.items():
        (folder / f"{name}.html").write_text(page(value, draw(value)), encoding="utf-8")
    found = overview.row(Verdict.of(finding() | {"suspect": evil}), 0)
    (folder / "index.html").write_text(overview.page([found], []), encoding="utf-8")
    return folder


def visit(browser, path: Path, size: tuple[int, int], scheme: str = "light") -> None:
    metrics = {
        "width": size[0],
        "height": size[1],
        "deviceScaleFactor": 1,
        "mobile": size == PHONE,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.get_log("performance")
    browser.get(path.as_uri())


def requested(browser) -> list[str]:
    messages = [
        json.loads(entry["message"])["message"]
        for entry in browser.get_log("performance")
    ]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.parametrize("name", ["small", "wide", "hostile"])
def test_opens_alone_and_in_silence(browser, pages, name):
    visit(browser, pages / f"{name}.html", LAPTOP)
    assert [url for url in requested(browser) if not url.startswith("data:")] == [
        (pages / f"{name}.html").as_uri()
    ]
    assert browser.get_log("browser") == []
    assert browser.title == "rio: a merge (mergetrace)"
    assert (
        browser.execute_script(
            "return getComputedStyle(document.querySelector('.limits')).listStyleType"
        )
        == "none"
    )  # our style was let in


@pytest.mark.parametrize("name", ["small", "wide", "hostile"])
@pytest.mark.parametrize("size", [PHONE, LAPTOP])
def test_never_scrolls_sideways(browser, pages, name, size):
    visit(browser, pages / f"{name}.html", size)
    browser.execute_script(
        "document.querySelectorAll('details').forEach(each => each.open = true)"
    )
    assert (
        browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    )


def test_pictures_follow_the_colour_scheme(browser, pages):
    colours = {}
    for scheme in ("light", "dark"):
        visit(browser, pages / "small.html", LAPTOP, scheme)
        texts = (
            "[...document.querySelectorAll('svg.picture text')].map(each =>"
            " getComputedStyle(each).fill)"
        )
        colours[scheme] = set(browser.execute_script(f"return {texts}")) - {
            "rgb(255, 255, 255)",
            "rgb(17, 17, 17)",
        }  # on the map's cells
    assert colours["light"]
    assert not colours["light"] & colours["dark"]


def test_pictures_text_stays_inside(browser, pages):
    visit(browser, pages / "wide.html", LAPTOP)
    outside = """return [...document.querySelectorAll('svg.picture')].flatMap(svg => {
      const frame = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBoundingClientRect();
        return box.left < frame.left - 1 || box.right > frame.right + 1
          || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
      }).map(text => text.textContent);
    })"""
    assert browser.execute_script(outside) == []


def test_prints(browser, pages):
    visit(browser, pages / "small.html", LAPTOP)
    pdf = base64.b64decode(
        browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    )
    assert pdf.startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["small", "wide", "hostile", "index"])
def test_axe_finds_nothing(browser, pages, name, scheme):
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(
        encoding="utf-8"
    )
    visit(browser, pages / f"{name}.html", LAPTOP, scheme)
    browser.execute_script(
        "document.querySelectorAll('details').forEach(each => each.open = true)"
    )
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    browser.set_script_timeout(300)
    run = (
        "axe.run({preload: false, resultTypes:"
        " ['violations']}).then(arguments[arguments.length - 1])"
    )
    violations = browser.execute_async_script(run)["violations"]
    assert [
        (each["id"], each["impact"], each["nodes"][0]["html"]) for each in violations
    ] == []


def rows(browser) -> list[list[str]]:
    return browser.execute_script(
        "return [...document.querySelectorAll('#d-body tr')].map(row =>"
        " [...row.children].map(cell => cell.textContent))"
    )


def wait_for(browser, condition, seconds: float = 60) -> None:
    """The page unpacks its data after it has loaded."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, browser.get_log("browser")
        time.sleep(0.05)


def choose(browser, field: str, value: str) -> None:
    """Set a field of the search as a person would, and wait until the table follows."""
    script = (
        "const field = document.getElementById(arguments[0]); field.value ="
        " arguments[1]; field.dispatchEvent(new Event(arguments[2]))"
    )
    browser.execute_script(
        script, field, value, "input" if field == "d-search" else "change"
    )
    if field == "d-search":
        time.sleep(0.4)  # typing is waited for


def test_every_tensor_can_be_found_sorted_and_filtered(browser, pages):
    visit(browser, pages / "wide.html", LAPTOP)
    wait_for(
        browser,
        lambda: browser.execute_script(
            "return !document.getElementById('drilldown').hidden"
        ),
    )
    said = "return document.getElementById('d-said').textContent"
    assert browser.execute_script(said) == "1 to 20 of 2,440"
    choose(browser, "d-search", "layers.7. ROUTER")
    assert [row[0] for row in rows(browser)] == [
        f"model.layers.7.router.weight [{i}]" for i in range(4)
    ]
    choose(browser, "d-search", "")
    choose(browser, "d-component", "1")
    assert browser.execute_script(said) == "1 to 20 of 244 (of 2,440 in all)"
    browser.execute_script(
        "document.querySelector('th[data-key=alpha] button').click()"
    )
    falling = [float(row[2].split()[0]) for row in rows(browser)]
    assert falling == sorted(falling, reverse=True)
    assert (
        browser.execute_script(
            "return"
            " document.querySelector('th[data-key=alpha]').getAttribute('aria-sort')"
        )
        == "descending"
    )
    browser.execute_script(
        "document.querySelector('th[data-key=alpha] button').click()"
    )
    assert float(rows(browser)[0][2].split()[0]) <= min(falling)
    browser.execute_script("document.getElementById('d-forth').click()")
    assert browser.execute_script(said).startswith("21 to 40 of 244")
    choose(browser, "d-search", "no such tensor")
    assert browser.execute_script(said) == "No slice fits."


def test_hostile_names_stay_text_in_the_search(browser, pages):
    visit(browser, pages / "hostile.html", LAPTOP)
    wait_for(browser, lambda: rows(browser))
    assert rows(browser)[0][0].startswith("<script>document.title='owned'</script>")
    assert browser.execute_script("return document.images.length") == 0
    assert browser.title == "rio: a merge (mergetrace)"
    assert browser.get_log("browser") == []


def test_reads_without_javascript(browser, pages):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, pages / "small.html", LAPTOP)
        text = browser.find_element("tag name", "body").text
    finally:
        browser.execute_cdp_cmd(
            "Emulation.setScriptExecutionDisabled", {"value": False}
        )
    assert "rio is a blend" in text
    assert "Where this page may run its own script" in text
    assert "Previous 20" not in text


def test_nothing_is_hidden_in_print(browser, pages):
    visit(browser, pages / "small.html", LAPTOP)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert (
            browser.execute_script(
                "return getComputedStyle(document.getElementById('drilldown')).display"
            )
            == "none"
        )
        outside = (
            "return [...document.querySelectorAll('table')].filter(each =>"
            " each.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert browser.execute_script(outside) == 0
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
