"""Names of an export's files, defined only here, and functions that read them; a missing or damaged file raises a
`UserError` with its path."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from towers.errors import UserError

MANIFEST, MANIFEST_DIGEST = "manifest.json", "manifest.json.sha256"
MODEL_CARD = "README.md"
CONTENTS, USERS = "contents.arrow", "users.arrow"
"""Tables of contents and listeners in row order, memory-mapped."""
CONTENTS_FOR_ENGINES = "contents.parquet"
"""Table of contents as Parquet, for external engines; the only one in format 1."""
CONTENT_ORDER, USER_ORDER = "content_order.npy", "user_order.npy"
"""Rows in the order of their ids, for lookups."""
CONTENT_VECTORS, USER_VECTORS = "content_vectors.npy", "user_vectors.npy"
CONTENT_INPUTS = "content_inputs.npy"
"""Content vectors that the user tower reads, if the exported vectors are truncated."""
MIXTURE = "mixture.json"
LISTEN_CHANCE = "listen_chance.json"
"""Model of the chance of a listen; missing if it could not be fitted."""
SOUND_VECTORS = "sound_vectors.npy"
"""Vectors of contents from their sound alone, float16; zeros without sound."""
CO_LISTENING = "co_listening"
"""Folder with the nearest contents of each content by shared listeners."""
CO_LISTENING_ROWS, CO_LISTENING_WEIGHTS = "rows.npy", "weights.npy"
RECORDINGS = "recordings.npy"
"""Row of the first content with the same recording, for each content."""
STYLES, STYLE_NAMES = "styles", "names.json"
"""Folder with the style shares of contents, and the file in it with the styles' names."""
STYLE_ARRAYS = ("offsets.npy", "codes.npy", "shares.npy", "is_given.npy")
REGIONS, REGION_FACTS = "regions", "regions.json"
"""Folder with the named regions of the space, and the file in it with their ids and names."""
REGION_ARRAYS = ("centroids.npy", "typical.npy", "of_content.npy")
LONG_TERM, LONG_TERM_FACTS = "long_term", "long_term.json"
"""Folder with the long-term values of contents, from format 5 on, and the file in it with the model's parameters;
missing if the log is too short."""
LONG_TERM_ARRAYS = ("expected.npy", "deviation.npy")
CONTENT_MAP = "content_map.npy"
CONTENT_EMBEDDINGS, USER_EMBEDDINGS = "content_embeddings", "user_embeddings"
"""Folders with vectors as Parquet parts, for external readers."""
USERS_OF_FORMAT_1 = "user_embeddings/part-0.parquet"
"""Listeners with their vectors in format 1, which has no other file with them."""
USER_TOWER, CONTENT_TOWER = "user_tower.onnx", "content_tower.onnx"
FEATURES = "features.json"
"""Settings by which raw events and metadata were encoded."""
VOCABULARIES = "vocabularies"
"""Folder with a Parquet file for each vocabulary."""
PLAYLISTS = "playlists.arrow"
"""Playlists with their curators, creation times and members, from format 4 on."""
HISTORIES = "histories"
"""Folder with the listeners' events and features."""
HISTORY_EVENTS, HISTORY_OFFSETS, USER_CODES = "events.arrow", "offsets.npy", "user_codes.npy"
AXES = "axes.npy"
"""Matrix by which the model's vectors are multiplied before they are normalised and exported; missing in formats 1 and
2."""
INDEX = "index"
"""Folder with the index of content vectors."""
INDEX_SPACE_ID, INDEX_FILE, INDEX_EFFORT = "space_id", "contents.faiss", "effort.json"
"""The space_id of the indexed vectors, the file of FAISS, and the search effort of an inverted file."""
INDEX_CODES, INDEX_SIZES = "cells.bin", "cells.npy"
"""Inverted lists of a compressed index, and the number of contents in each cell."""
INDEX_CENTROIDS, INDEX_MEMBERS, INDEX_VECTORS = "centroids.npy", "members.npy", "vectors.npy"
"""Files of an inverted file without codes, which has no FAISS file: centroids, and rows and vectors cell by cell."""
INDEX_FILES = (
    INDEX_FILE, INDEX_EFFORT, INDEX_CODES, INDEX_SIZES, INDEX_CENTROIDS, INDEX_MEMBERS, INDEX_VECTORS
)  # fmt: skip
"""Files that an index may have; its kind follows from which of them exist."""
ROTATION, ROTATION_FACTS = "space_map.npy", "space_map.json"
"""Matrix that maps vectors onto the previous version's space, and facts about its fit."""
DRIFT = "drift.json"

SMALL = 4_096
"""Size in bytes below which an array is read rather than memory-mapped."""


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Yields `path`; turns errors of numpy, pyarrow and FAISS while reading it into a `UserError` with its path."""
    try:
        yield path
    except FileNotFoundError:
        raise UserError(f"{path}: missing; make or copy the export again") from None
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); make or copy the export again") from error


def mapped_array(path: Path) -> np.ndarray:
    """Opens a memory-mapped array, whose pages all processes share.

    Raises:
        UserError: the file is missing or damaged.
    """
    with reading(path):
        is_small = path.stat().st_size < SMALL  # an empty array cannot be mapped
        array = np.load(path, mmap_mode=None if is_small else "r", allow_pickle=False)
    return np.asarray(array)  # a plain view of the map, because slices of np.memmap are slow


def mapped_table(path: Path) -> pa.Table:
    """Opens a memory-mapped Arrow file; raises the same errors as `mapped_array`."""
    with reading(path):
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
