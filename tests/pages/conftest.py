"""Shared by tests of pages."""

import browser as browsers
import pytest


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, one for all tests of a process."""
    if browsers.chromium() is None:
        pytest.skip("needs Chromium: apt-get install chromium, or its path in CHROMIUM")
    with browsers.launched() as browser:
        yield browser
