from dataclasses import replace

import pytest

from tests.publishing.listening import write_listening


@pytest.fixture(scope="session")
def listening(tmp_path_factory, make_builder, feature_settings):
    """A store of listeners of plain taste, without sound or metadata. Read only."""
    folder = tmp_path_factory.mktemp("listening")
    features = replace(feature_settings, user_columns=())
    return make_builder(write_listening(folder / "raw"), folder / "stores", features=features).build()[0]


@pytest.fixture(scope="module")
def graphs_traced_once(tmp_path_factory):
    """Within a module, the graph of the same network is traced once."""
    from benchmarks.graphs import traced_once

    with traced_once(tmp_path_factory.mktemp("graphs")):
        yield


@pytest.fixture
def graphs_traced_anew(graphs_traced_once):
    """The exporter as it is, for a test that is about it."""
    from benchmarks.graphs import traced_anew

    with traced_anew():
        yield
