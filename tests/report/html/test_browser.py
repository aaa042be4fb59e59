"""The page in a real browser: what is drawn, what a reader can do, and that hostile text stays text."""

import base64
import shutil

import pytest
from command_pages import everything
from page_data import HOSTILE

from lightning_robust.report.html.page import LARGEST, write_page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
WIDTHS = (390, 1440)
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
#: Elements that are wider than the page and are not inside something that scrolls by itself.
OVERFLOW = """
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll("body *")].filter((one) => {
  if (one.closest(".scroll") && !one.matches(".scroll")) return false;
  if (one.closest("svg") && one.tagName !== "svg" || one.matches(".skip, #verdict h2")) return false;
  const box = one.getBoundingClientRect();
  return box.width > 0 && (box.right > width + 1 || box.left < -1);
}).map((one) => `${one.tagName}.${one.className.baseVal ?? one.className}`);
"""
#: Contrast of every text with what stands behind it, the smallest first, by WCAG 2.
CONTRAST = """
const shade = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => 0.2126 * shade(r / 255) + 0.7152 * shade(g / 255) + 0.0722 * shade(b / 255);
const ground = (one) => {
  for (let at = one; at; at = at.parentElement) {
    const found = parse(getComputedStyle(at).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
const found = [];
for (const one of document.querySelectorAll("body *")) {
  if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (["SCRIPT", "STYLE", "TITLE", "OPTION"].includes(one.tagName) || !one.checkVisibility()) continue;
  const style = getComputedStyle(one);
  const pair = [light(parse(one.closest("svg") ? style.fill : style.color)), light(ground(one))];
  const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  found.push([ratio, `${one.tagName}.${one.className.baseVal ?? one.className}: ${one.textContent.slice(0, 40)}`]);
}
return found.sort((a, b) => a[0] - b[0]).slice(0, 5);
"""

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="no browser: install chromium and chromedriver (Debian: chromium and chromium-driver)",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with everything on it."""
    root = tmp_path_factory.mktemp("page")
    file = root / "report.html"
    assert write_page(everything(root / "runs"), file) < LARGEST
    return file


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser that loads nothing from anywhere."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is in the extra [test]")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    """The page, as wide as a desk's screen; whatever a test changed is undone for the next one."""
    size(browser, 1440)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.get(page.as_uri())
    return browser


def size(browser, width):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def count(browser, selector):
    return browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def test_every_figure_is_drawn_and_the_console_is_silent(opened):
    assert [entry for entry in opened.get_log("browser") if entry["level"] != "DEBUG"] == []
    sections = opened.execute_script("return [...document.querySelectorAll('main > section')].map((one) => one.id)")
    for name in ("verdict", "comparison", "diagnosis", "accuracy", "concepts", "ablation", "pruning", "compression"):
        assert name in sections
    assert "study" in sections
    opened.execute_script("for (const one of document.querySelectorAll('select')) { one.value = 'all'; "
                          "one.dispatchEvent(new Event('change')); }")  # fmt: skip
    boxes = opened.execute_script(
        "return [...document.querySelectorAll('svg.chart')].map((one) => [one.getBoundingClientRect().width, "
        "one.getBoundingClientRect().height, one.querySelectorAll('polyline, circle, rect, polygon').length])"
    )
    assert len(boxes) > 20
    assert all(width > 200 and height > 60 and drawn > 0 for width, height, drawn in boxes)
    pictures = opened.execute_script("return [...document.images].map((one) => [one.complete, one.naturalWidth])")
    assert len(pictures) == 3
    assert all(complete and width > 0 for complete, width in pictures)


def test_hostile_text_is_shown_as_text_and_runs_nothing(opened):
    from selenium.common.exceptions import NoAlertPresentException

    with pytest.raises(NoAlertPresentException):
        _ = opened.switch_to.alert
    assert count(opened, "script") == 1
    assert count(opened, "b") == 0  # the hostile text opens one
    text = opened.execute_script("return document.body.textContent")
    assert text.count(HOSTILE) > 20
    shown = opened.execute_script("return document.querySelector('#concepts .concepts').textContent")
    assert HOSTILE in shown
    tip = opened.execute_script("return document.querySelector('#study [data-tip*=\"<script>\"]').dataset.tip")
    assert HOSTILE in tip


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(opened, width):
    size(opened, width)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    assert opened.execute_script(OVERFLOW) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(opened, scheme):
    scheme = {"name": "prefers-color-scheme", "value": scheme}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    worst = opened.execute_script(CONTRAST)
    assert worst[0][0] >= 4.5, worst


def test_a_layer_is_chosen_by_a_selector(opened):
    groups = opened.execute_script("return document.querySelectorAll('[data-choices]').length")
    assert groups > 3
    seen = "return [...document.querySelector('#study [data-choices]').children].filter((one) => !one.hidden).length"
    assert opened.execute_script(seen) == 2  # the selector, and one panel
    opened.execute_script("const one = document.querySelector('#study select'); one.value = 'all'; "
                          "one.dispatchEvent(new Event('change'));")  # fmt: skip
    assert opened.execute_script(seen) > 5


def test_without_javascript_everything_is_there(browser, page, opened):
    with_script = count(opened, "[data-option]")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(page.as_uri())
    tree = browser.execute_cdp_cmd("DOMSnapshot.captureSnapshot", {"computedStyles": ["display", "visibility"]})
    strings, document = tree["strings"], tree["documents"][0]
    names = [strings[index] if index >= 0 else "" for index in document["nodes"]["nodeName"]]
    attributes = [[strings[k] for k in one] for one in document["nodes"]["attributes"]]
    panels = [k for k, one in enumerate(attributes) if "data-option" in one[::2]]
    assert len(panels) == with_script
    assert set(panels) <= set(document["layout"]["nodeIndex"])  # laid out, none hidden
    assert "SELECT" not in names
    parents = document["nodes"]["parentIndex"]

    def folded(k):
        return k > 0 and (names[k] == "DETAILS" or folded(parents[k]))

    charts = [k for k, name in enumerate(names) if name == "svg" and "chart" in " ".join(attributes[k])]
    unfolded = {k for k in charts if not folded(k)}
    assert len(unfolded) > 20
    assert unfolded <= set(document["layout"]["nodeIndex"])


def test_it_prints_with_every_panel(opened):
    printed = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 50_000
    assert printed.count(b"/Type /Page") - printed.count(b"/Type /Pages") > 3
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = "return [...document.querySelectorAll('[data-option]')].filter((one) => !one.checkVisibility()).length"
    assert opened.execute_script(hidden) == 0
    assert not opened.execute_script("return document.querySelector('nav').checkVisibility()")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key):
        ActionChains(opened).send_keys(key).perform()
        return opened.switch_to.active_element

    first = press(Keys.TAB)
    assert first.text == "Skip to the content"
    assert first.rect["x"] >= 0  # it comes into view
    second = press(Keys.TAB)
    assert second.get_attribute("hash") == "#verdict"
    assert second.value_of_css_property("outline-style") == "solid"
    opened.execute_script("document.querySelector('#study svg.chart').focus()")
    press(Keys.ARROW_RIGHT)
    tip = "const one = document.querySelector('.tip'); return one.hidden ? '' : one.textContent"
    shown = opened.execute_script(tip)
    assert "points" in shown
    press(Keys.ARROW_RIGHT)
    assert opened.execute_script(tip) not in ("", shown)
    press(Keys.ESCAPE)
    assert opened.execute_script(tip) == ""


def test_every_picture_says_what_it_shows(opened):
    assert count(opened, "svg.chart:not([aria-label]), svg.chart[aria-label='']") == 0
    assert count(opened, "img:not([alt]), img[alt='']") == 0
    assert count(opened, "table:not(:has(caption))") == 0
