"""Fixtures shared by several rooms. Towers is imported inside the fixtures, so that jaxtyping's hook comes first."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.composed_quickly import files_parsed_once
from tests.data import raw_set
from tests.made_once import copy_once_made, folder_of_this_code

TINY_WORLD = {
    "seed": 0,
    "num_tracks": 24,
    "num_episodes": 4,
    "num_listeners": 24,
    "num_days": 60,
    "evaluation_days": 10,
    "start_date": "2026-01-05",
    "events_per_listener": 40.0,
    "new_release_share": 0.2,
    "genre_missing_share": 0.3,
    "clip_duration_s": 1.0,
    "sample_rate": 8_000,
}


@pytest.fixture(scope="session", autouse=True)
def files_of_configurations():
    """Commands are composed by Hydra from files that each process parses once."""
    with files_parsed_once():
        yield


@pytest.fixture(scope="session")
def feature_settings():
    """Half of a piece has to be played; spectrograms of 100 frames of 16 bands."""
    from towers.features.metadata import CONTENT_PARTS
    from towers.features.settings import FeatureSettings, SpectrogramSettings

    return FeatureSettings(
        min_played_fraction=0.5,
        content_parts=CONTENT_PARTS,
        user_columns=("country",),
        spectrogram=SpectrogramSettings(sample_rate=8_000, n_fft=256, hop_length=80, n_mels=16, record_s=1.0),
    )


@pytest.fixture(scope="session")
def make_builder(feature_settings):
    """Makes a `StoreBuilder` for a raw folder, or for any source; keywords that a test leaves out have usual values."""
    from towers.data.build import StoreBuilder
    from towers.data.rejecting import Limits
    from towers.data.sources.parquet_folder import ParquetFolder
    from towers.data.splits.temporal import GlobalTemporal

    def make(
        raw,
        root: Path,
        *,
        split=None,
        filters=None,
        features=feature_settings,
        max_rejected_fraction=0.0,
        max_duplicate_fraction=0.2,
        max_rejected_sounds_fraction=0.5,
        max_unlisted_fraction=1.0,
        forget=(),
        on_progress=None,
        **others,
    ) -> StoreBuilder:
        return StoreBuilder(
            root=root,
            source=ParquetFolder(str(raw)) if isinstance(raw, Path) else raw,
            split=split or GlobalTemporal("2026-01-25", "2026-02-04"),
            features=features,
            filters=filters,
            limits=Limits(
                max_rejected_fraction=max_rejected_fraction,
                max_duplicate_fraction=max_duplicate_fraction,
                max_rejected_sounds_fraction=max_rejected_sounds_fraction,
                max_unlisted_fraction=max_unlisted_fraction,
            ),
            forget=forget,
            num_workers=2,
            on_progress=on_progress or (lambda stage, done, total, remark="": None),
            **others,
        )

    return make


@pytest.fixture
def raw(tmp_path):
    """The hand-written raw data set, to be changed at will."""
    return raw_set.write_raw(tmp_path / "raw")


@pytest.fixture(scope="session")
def store(tmp_path_factory, make_builder):
    """The hand-written data set, prepared. Read only."""
    folder = tmp_path_factory.mktemp("tiny")
    return make_builder(raw_set.write_raw(folder / "raw"), folder / "stores").build()[0]


@pytest.fixture(scope="session")
def world_folder(tmp_path_factory):
    """A tiny demo world as raw data. Read only."""
    from towers.simulation.world import World

    folder = tmp_path_factory.mktemp("world") / "raw"
    World(**TINY_WORLD).write(folder)
    return folder


@pytest.fixture(scope="session")
def world_store(tmp_path_factory, make_builder, world_folder):
    """The tiny demo world, prepared: enough to train on for a second. Read only."""
    from towers.data.splits.temporal import GlobalTemporal

    split = GlobalTemporal(validation_days=10.0, test_days=10.0)
    return make_builder(world_folder, tmp_path_factory.mktemp("world-stores"), split=split).build()[0]


@pytest.fixture(scope="session")
def listened_world(tmp_path_factory, make_builder):
    """A small invented world with sessions, prepared without sound in moments. Read only."""
    from tests.simulation.listeners.logs import write_world

    return write_world(tmp_path_factory.mktemp("listened"), make_builder)


@pytest.fixture(scope="session")
def graphs(pytestconfig) -> Path:
    """Folder of the traced graphs of exported towers, shared by all processes. Tracing is most of a small export."""
    from benchmarks import graphs
    from towers.manifest import library_versions

    recipe = (sys.version, str(library_versions()), version("onnxscript"), Path(graphs.__file__).read_text())
    return folder_of_this_code(pytestconfig.cache.mkdir("towers"), "graphs", recipe)


@pytest.fixture(scope="module")
def graphs_traced_once(graphs):
    """Shares traced graphs within a module: a network is traced unless one of the same make has been."""
    from benchmarks.graphs import traced_once

    with traced_once(graphs):
        yield


@pytest.fixture
def graphs_traced_anew(graphs_traced_once):
    """Traces every graph, for a test of the exporter itself."""
    from benchmarks.graphs import traced_anew

    with traced_anew():
        yield


@pytest.fixture(scope="session")
def demo(tmp_path_factory, pytestconfig, graphs) -> tuple[Path, str]:
    """A folder in which a small demo ran from beginning to end, and its output. Tests change no file of it, and may
    write further ones beside these. It is for tests without jaxtyping's hook, as the demo exports.
    """
    from benchmarks.graphs import traced_once
    from tests.command_line import EXPORT, SMALL_WORLD, ok
    from towers.manifest import library_versions

    folder = tmp_path_factory.mktemp("demo") / "demo"
    command = ("demo", *SMALL_WORLD, *EXPORT)
    recipe = (*command, sys.version, str(library_versions()))

    def make(empty: Path) -> None:
        with traced_once(graphs):
            printed = ok(empty, *command)
        (empty / "printed.txt").write_text(printed)

    copy_once_made(folder, pytestconfig.cache.mkdir("towers"), "demo", recipe, make)
    return folder, (folder / "printed.txt").read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked gpu, with a reason, where there is no card."""
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
