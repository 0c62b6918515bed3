"""Raw data in an object store, read over HTTP from moto's server, which speaks S3."""

import filecmp
import json
import shutil

import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from tests.data import raw_set
from towers.data.sources.parquet_folder import ParquetFolder

BUCKET = "plays"


@pytest.fixture(scope="module")
def server():
    """A server on a free port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(server, monkeypatch):
    """fsspec's filesystem on an empty bucket, with the environment that s3fs and delta-rs read."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    filesystem = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    filesystem.mkdir(BUCKET)
    yield filesystem
    filesystem.rm(BUCKET, recursive=True)


@pytest.fixture
def raw(tmp_path):
    """The hand-written data set without sound."""
    root = raw_set.write_raw(tmp_path / "raw")
    contents = root / "contents/part-0.parquet"
    pq.write_table(pq.read_table(contents).drop_columns(["audio"]), contents)
    shutil.rmtree(root / "audio")
    return root


def put(filesystem, folder, key="set"):
    """Uploads a folder, and returns its URL."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        filesystem.pipe_file(f"{BUCKET}/{key}/{path.relative_to(folder)}", path.read_bytes())
    return f"s3://{BUCKET}/{key}"


def prepared(make_builder, url, stores):
    return make_builder(ParquetFolder(str(url)), stores).build()[0]


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_same(here, there):
    """Two versions of a store are the same byte by byte, but for what names where the data came from."""
    assert files_of(here.folder) == files_of(there.folder)
    differing = [
        name for name in files_of(here.folder) if not filecmp.cmp(here.folder / name, there.folder / name, False)
    ]
    assert differing == ["manifest.json"]
    mine, other = (json.loads((store.folder / "manifest.json").read_text()) for store in (here, there))
    assert {name for name in mine if mine[name] != other[name]} == {"root", "fingerprint", "request"}


def test_the_same_store_as_from_a_disk(s3, raw, tmp_path, make_builder):
    here = prepared(make_builder, raw, tmp_path / "here")
    there = prepared(make_builder, put(s3, raw), tmp_path / "there")
    assert_same(here, there)
    assert there.manifest["root"] == f"s3://{BUCKET}/set"
