import pytest


@pytest.fixture
def no_page(monkeypatch):
    """Leaves out the page of an evaluation, which is half of the time of a small one; tests of figures do not read
    it.
    """
    monkeypatch.setattr("towers.commands.evaluate.write_page", lambda report, path: None)


@pytest.fixture(scope="module", autouse=True)
def graphs_of_commands(graphs_traced_once):
    """Takes the graphs for exports of commands from the shared folder, unless a test asks for `graphs_traced_anew`."""
