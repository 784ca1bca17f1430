"""The report in a real browser: headless Chromium, driven by the distribution's own driver."""

import base64
import json
import shutil
from pathlib import Path

import pytest
from reporting import finding, inputs

from mergetrace.report import draw, page

pytestmark = pytest.mark.real
TEMPLATES = Path(__file__).parents[2] / "scripts" / "templates"
PHONE, LAPTOP = (390, 844), (1280, 800)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(f"no {'chromium' if not chromium else 'chromedriver'} here; apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A small report, one of 60 layers, and one full of hostile text."""
    folder = tmp_path_factory.mktemp("pages")
    evil = "<script>document.title='owned'</script><img src='https://example.org/x' onerror='document.title=\"owned\"'>"
    verdict = finding() | {"reasons": [evil, "A" * 5000]}
    answers = [{"prompt": evil, "text": evil, "rendered": evil, "condition": "shipped", "answer": evil + "W" * 2000, "finish": "stop"}]
    hostile = inputs(verdict=verdict, tensors=inputs().tensors.assign(tensor=evil + "x" * 500), answers={"rio": answers})
    given = {"small": inputs(), "wide": inputs((60, 10, 4)), "hostile": hostile}
    for name, value in given.items():
        (folder / f"{name}.html").write_text(page(value, draw(value), TEMPLATES), encoding="utf-8")
    return folder


def visit(browser, path: Path, size: tuple[int, int], scheme: str = "light") -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get_log("performance")
    browser.get(path.as_uri())


def requested(browser) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("name", ["small", "wide", "hostile"])
def test_opens_alone_and_in_silence(browser, pages, name):
    visit(browser, pages / f"{name}.html", LAPTOP)
    assert [url for url in requested(browser) if not url.startswith("data:")] == [(pages / f"{name}.html").as_uri()]
    assert browser.get_log("browser") == []
    assert browser.title == "rio: a merge (mergetrace)"
    assert browser.execute_script("return getComputedStyle(document.querySelector('.limits')).listStyleType") == "none"  # our style was let in


@pytest.mark.parametrize("name", ["small", "wide", "hostile"])
@pytest.mark.parametrize("size", [PHONE, LAPTOP])
def test_never_scrolls_sideways(browser, pages, name, size):
    visit(browser, pages / f"{name}.html", size)
    browser.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]


def test_pictures_follow_the_colour_scheme(browser, pages):
    colours = {}
    for scheme in ("light", "dark"):
        visit(browser, pages / "small.html", LAPTOP, scheme)
        texts = "[...document.querySelectorAll('svg.picture text')].map(each => getComputedStyle(each).fill)"
        colours[scheme] = set(browser.execute_script(f"return {texts}")) - {"rgb(255, 255, 255)", "rgb(17, 17, 17)"}  # on the map's cells
    assert colours["light"]
    assert not colours["light"] & colours["dark"]


def test_pictures_text_stays_inside(browser, pages):
    visit(browser, pages / "wide.html", LAPTOP)
    outside = """return [...document.querySelectorAll('svg.picture')].flatMap(svg => {
      const frame = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBoundingClientRect();
        return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
      }).map(text => text.textContent);
    })"""
    assert browser.execute_script(outside) == []


def test_prints(browser, pages):
    visit(browser, pages / "small.html", LAPTOP)
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert pdf.startswith(b"%PDF")
