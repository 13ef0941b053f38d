"""Take docs/pictures/studio.png: the studio page with the example inverted and edited.

Run it as `python -m scripts.studio_picture`. Needs Chromium with its driver, and what the
tests need.
"""

import shutil
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.stack import Stack

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "studio.png"
PATIENCE_S = 600
MOVES = {0: Keys.ARROW_RIGHT, 2: Keys.ARROW_LEFT}
"""Slider -> key that is pressed six times, of forty that its range takes."""


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        stack = Stack(Path(data), "--port", "0")
        try:
            take(stack.wait_ready().address)
            stack.stop()
        finally:
            stack.end()


def take(address: str) -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1320,980"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.get(f"{address}/studio/")
        wait(lambda: len(sliders(browser)) > max(MOVES))
        browser.find_element(By.ID, "example").click()
        wait(lambda: browser.find_element(By.ID, "reset").is_enabled())
        for slider, key in MOVES.items():
            sliders(browser)[slider].send_keys(*[key] * 6)
        time.sleep(3)
        PICTURE.parent.mkdir(exist_ok=True)
        browser.save_screenshot(str(PICTURE))
    finally:
        browser.quit()


def sliders(browser: webdriver.Chrome) -> list:
    return browser.find_elements(By.CSS_SELECTOR, "#sliders input[type=range]")


def wait(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the page was not ready within {PATIENCE_S} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
