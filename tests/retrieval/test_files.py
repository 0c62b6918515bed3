"""The names of an export's files are in one module, so that writers and readers agree."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from towers.retrieval import files

PACKAGE = Path(__file__).resolve().parent.parent.parent / "towers"
STORE = PACKAGE / "data"
"""A prepared store's files are its own, though some bear the same names."""


def names() -> set[str]:
    """Returns unambiguous names of files and folders; "index" or "space_id" are also words of manifests and options."""
    texts = {value for name, value in vars(files).items() if name.isupper() and isinstance(value, str)}
    return {text for text in texts if "." in text} | {files.CONTENT_EMBEDDINGS, files.USER_EMBEDDINGS}


def spelled(source: str) -> Iterator[str]:
    """Returns the names of an export's files among the string literals."""
    known = names()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in known:
            yield f"line {node.lineno}: {node.value}"


def test_no_other_module_spells_the_name_of_a_file():
    others = {Path(files.__file__), PACKAGE / "lifecycle" / "forgetting_stores.py"}  # that one rewrites stores
    paths = [path for path in PACKAGE.rglob("*.py") if path not in others and STORE not in path.parents]
    assert PACKAGE / "publishing" / "writer.py" in paths
    assert {str(path): found for path in paths if (found := list(spelled(path.read_text())))} == {}


@pytest.mark.parametrize("name", ["contents.parquet", "user_embeddings", "cells.bin", "space_map.npy", "README.md"])
def test_the_check_finds_a_name(name):
    assert list(spelled(f"path = folder / {name!r}")) == [f"line 1: {name}"]
    assert not list(spelled(f'"""Reads `{name}`."""'))


def test_names_are_of_one_file_each():
    texts = [value for name, value in vars(files).items() if name.isupper() and isinstance(value, str)]
    assert len(texts) == len(set(texts))
