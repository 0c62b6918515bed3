import pytest


@pytest.fixture
def no_page(monkeypatch):
    """Half of the time of a small evaluation is its page's, which tests of its figures do not look at."""
    monkeypatch.setattr("towers.commands.evaluate.write_page", lambda report, path: None)
