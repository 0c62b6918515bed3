from dataclasses import replace

import pytest

from tests.publishing.listening import write_listening


@pytest.fixture(scope="session")
def listening(tmp_path_factory, make_builder, feature_settings):
    """A store of listeners of plain taste, without sound or metadata. Read only."""
    folder = tmp_path_factory.mktemp("listening")
    features = replace(feature_settings, user_columns=())
    return make_builder(write_listening(folder / "raw"), folder / "stores", features=features).build()[0]
