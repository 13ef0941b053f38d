"""The studio page in a real browser, against a real `ni up`."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webdriver import WebDriver  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

from ni_core.bundles import write_tiny_bundle  # noqa: E402
from ni_core.images import decode_image  # noqa: E402
from service.security import digest_of  # noqa: E402
from service.welcome import SAMPLE  # noqa: E402
from tests.bundles import (  # noqa: E402
    CONDITIONAL,
    Z_ONLY,
    add_directions,
    imported,
    unit,
    write_bundle,
)
from tests.stack import Stack  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60
KEY = "a key for the test"

browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
driver_path = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser_path is None or driver_path is None,
        reason="needs Chromium and chromedriver (Debian: chromium chromium-driver)",
    ),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A small model in the place of the embedded one, and a key that the service asks for."""
    models = tmp_path_factory.mktemp("models")
    write_tiny_bundle(models, name="portraits")
    write_bundle(models, "plain", "pggan", Z_ONLY)
    write_bundle(models, "classes", "stylegan2", CONDITIONAL)
    add_directions(models / "classes", [imported("smile", unit(32, 3), layers=(0, 1))])
    stack = Stack(
        tmp_path_factory.mktemp("data"),
        "--port",
        "0",
        NI_MODEL_DIR=str(models),
        NI_DEVICE="cpu",
        NI_API_KEYS=digest_of(KEY),
        NI_PREVIEW_INTERVAL_S="0.1",
    )
    try:
        yield stack.wait_ready()
    finally:
        stack.end()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = browser_path
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The page as a user sees it: things are found by what they are called."""

    def __init__(self, browser: WebDriver, stack: Stack) -> None:
        self.browser = browser
        self.stack = stack
        browser.get(f"{stack.address}/studio/")

    def find(self, identity: str) -> WebElement:
        return self.browser.find_element(By.ID, identity)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._holds(condition):
            if time.monotonic() > deadline:
                shown = self.browser.find_element(By.TAG_NAME, "body").text
                pytest.fail(f"{what}: not within {PATIENCE_S} s\n{shown}\n{self.stack.output}")
            time.sleep(0.05)

    @staticmethod
    def _holds(condition: Callable[[], bool]) -> bool:
        """Ask for the condition; the page may replace an element between finding and reading it."""
        try:
            return condition()
        except StaleElementReferenceException:
            return False

    def sign_in(self) -> "Page":
        self.wait(lambda: bool(self.sliders() or self.find("problem").text), "the page has loaded")
        if not self.sliders():
            self.find("key").send_keys(KEY, Keys.TAB)
            self.wait(lambda: bool(self.sliders()), "sliders appear")
        self.browser.get_log("browser")  # a refused request is logged as an error, rightly
        return self

    def choose(self, identity: str, value: str, first_slider: str) -> None:
        """Choose from a list, and wait until the sliders that follow from it are there."""
        Select(self.find(identity)).select_by_value(value)
        self.wait(
            lambda: [s.get_attribute("name") for s in self.sliders()][:1] == [first_slider],
            f"{first_slider} is the first direction",
        )

    def sliders(self) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, "#sliders input[type=range]")

    def open_options(self) -> None:
        self.browser.execute_script("document.querySelector('details').open = true")

    def upload(self, path: Path = SAMPLE, steps: int = 30) -> None:
        self.open_options()
        self.find("steps").clear()
        self.find("steps").send_keys(str(steps))
        self.find("file").send_keys(str(path))

    def wait_inverted(self) -> None:
        self.wait(lambda: self.find("save-picture").is_enabled(), "the inversion ends")
        self.settle()

    def settle(self) -> None:
        """Wait until the picture has not changed for a moment."""
        last, since = self.picture(), time.monotonic()
        while time.monotonic() - since < 0.6:
            time.sleep(0.05)
            if (now := self.picture()) != last:
                last, since = now, time.monotonic()

    def picture(self) -> str:
        return self.find("current").get_attribute("src") or ""

    def pixels(self) -> list[int]:
        """The shown picture's colours."""
        return self.browser.execute_script(
            "const i = document.getElementById('current');"
            "const c = Object.assign(document.createElement('canvas'), {width: 16, height: 16});"
            "const g = c.getContext('2d'); g.drawImage(i, 0, 0, 16, 16);"
            "return [...g.getImageData(0, 0, 16, 16).data];"
        )

    def press(self, identity: str) -> None:
        self.find(identity).click()


@pytest.fixture
def page(browser: WebDriver, stack: Stack) -> Page:
    return Page(browser, stack).sign_in()


def errors_of(browser: WebDriver) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_without_a_key_the_page_says_so(browser: WebDriver, stack: Stack) -> None:
    browser.get(f"{stack.address}/studio/")
    browser.execute_script("sessionStorage.clear()")
    page = Page(browser, stack)
    page.wait(lambda: page.find("problem").is_displayed(), "a problem is shown")
    assert "API key" in page.find("problem").text


def test_an_upload_is_inverted_and_a_slider_edits_it(page: Page, browser: WebDriver) -> None:
    page.upload()
    page.wait_inverted()
    assert "dB" in page.find("metrics").text and "LPIPS" in page.find("metrics").text
    before = page.pixels()
    slider = page.sliders()[0]
    slider.send_keys(*[Keys.ARROW_RIGHT] * 12)
    page.settle()
    moved = page.pixels()
    assert moved != before
    assert float(slider.get_attribute("value") or 0) > 0
    page.press("reset")
    page.settle()
    assert page.pixels() == before
    assert not errors_of(browser)


def test_previews_and_progress_are_shown_and_cancel_stops(page: Page) -> None:
    page.upload(steps=5000)
    page.wait(lambda: "of 5000" in page.find("step").text, "steps are counted")
    first = page.picture()
    page.wait(lambda: page.picture() not in ("", first), "a preview appears")
    page.press("cancel")
    page.wait(lambda: "canceled" in page.find("problem").text, "the cancel is confirmed")
    assert not page.find("progress").is_displayed()
    assert not page.find("save-picture").is_enabled()


def test_a_sample_by_seed_can_be_edited_and_downloaded(page: Page, downloads: Path) -> None:
    page.find("seed").clear()
    page.find("seed").send_keys("7", Keys.ENTER)
    page.wait_inverted()
    page.sliders()[1].send_keys(*[Keys.ARROW_LEFT] * 5)
    page.settle()
    page.press("save-picture")
    page.press("save-latent")
    picture, latent = downloads / "picture.png", downloads / "latent.safetensors"
    page.wait(lambda: picture.exists() and latent.exists(), "two files are downloaded")
    assert decode_image(picture.read_bytes()).shape == (3, 16, 16)


def test_layers_and_number_choose_the_directions(page: Page) -> None:
    page.find("layers").clear()
    page.find("layers").send_keys("0-2")
    page.find("count").clear()
    page.find("count").send_keys("3", Keys.ENTER)
    page.wait(
        lambda: (
            [s.get_attribute("name") for s in page.sliders()]
            == ["sefa.0-2.0", "sefa.0-2.1", "sefa.0-2.2"]
        ),
        "three directions of rows 0-2",
    )


def test_a_model_with_only_z_is_sampled_and_edited(page: Page, browser: WebDriver) -> None:
    page.find("layers").clear()
    page.find("layers").send_keys("0-2")
    page.choose("model", "plain", "sefa.z.0")
    assert "no layers" in page.find("layers-help").text
    assert page.find("layers").get_attribute("value") == "all"
    assert not page.find("class").is_displayed()
    page.find("seed").send_keys(Keys.ENTER)
    page.wait_inverted()
    before = page.pixels()
    page.sliders()[0].send_keys(*[Keys.ARROW_RIGHT] * 12)
    page.settle()
    assert page.pixels() != before
    page.find("current").click()
    full = page.find("full")
    page.wait(full.is_displayed, "the picture is shown at full size")
    full.find_element(By.TAG_NAME, "button").click()
    page.wait(lambda: not full.is_displayed(), "the picture is closed")
    assert not errors_of(browser)


def test_a_class_and_imported_directions_are_offered_where_there_are_any(page: Page) -> None:
    page.choose("model", "classes", "sefa.0-5.0")
    pictures = []
    for label in ("0", "2"):
        page.find("class").clear()
        page.find("class").send_keys(label, Keys.ENTER)
        page.settle()
        pictures.append(page.pixels())
    assert pictures[0] != pictures[1]
    page.choose("direction-method", "imported", "imported.0-1.0")
    assert "smile" in page.find("sliders").text
    page.sliders()[0].send_keys(*[Keys.ARROW_RIGHT] * 12)
    page.settle()
    assert page.pixels() != pictures[1]


def test_a_file_that_is_no_picture_is_explained(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    page.upload(text)
    page.wait(lambda: page.find("problem").is_displayed(), "a problem is shown")
    assert "image" in page.find("problem").text
    page.press("example")
    page.wait_inverted()
    assert not page.find("problem").is_displayed()


def test_everything_that_can_be_operated_has_a_name(page: Page, browser: WebDriver) -> None:
    page.open_options()
    controls = browser.find_elements(By.CSS_SELECTOR, "input, select, button")
    shown = [control for control in controls if control.is_displayed()]
    assert len(shown) > 15
    assert [c.get_attribute("outerHTML") for c in shown if not c.accessible_name] == []
