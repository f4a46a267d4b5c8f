"""The browser that draws the notebooks' pictures and runs the browser tests."""
from .environment import browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def launch(playwright):
    """A headless Chromium of playwright's that contacts nobody."""
    return playwright.chromium.launch(executable_path=browser(), args=FLAGS)
