"""The files of an export by name, which stand nowhere else, and how they are read: one that is missing or damaged is
the caller's to mend, in one line with the path."""

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
"""What is known of contents and listeners, in row order, to be mapped."""
CONTENTS_FOR_ENGINES = "contents.parquet"
"""What is known of contents as Parquet, for engines; format 1 has no other."""
CONTENT_ORDER, USER_ORDER = "content_order.npy", "user_order.npy"
"""Rows in the order of their ids, to look an id up."""
CONTENT_VECTORS, USER_VECTORS = "content_vectors.npy", "user_vectors.npy"
CONTENT_INPUTS = "content_inputs.npy"
"""What the user tower reads of contents, where that is not the vectors that are exported, which are truncated ones."""
MIXTURE = "mixture.json"
LISTEN_CHANCE = "listen_chance.json"
"""The model of the chance of a listen; not there where it could not be fitted."""
SOUND_VECTORS = "sound_vectors.npy"
"""Contents by their sound alone, float16; zeros where there is none."""
CO_LISTENING = "co_listening"
"""Folder of the nearest contents by who chose them."""
CO_LISTENING_ROWS, CO_LISTENING_WEIGHTS = "rows.npy", "weights.npy"
RECORDINGS = "recordings.npy"
"""Per content the row of the first of the same recording."""
STYLES, STYLE_NAMES = "styles", "names.json"
"""Folder of how contents divide among styles, and in it their names."""
STYLE_ARRAYS = ("offsets.npy", "codes.npy", "shares.npy", "is_given.npy")
REGIONS, REGION_FACTS = "regions", "regions.json"
"""Folder of the named regions of the space, and in it their ids and names."""
REGION_ARRAYS = ("centroids.npy", "typical.npy", "of_content.npy")
LONG_TERM, LONG_TERM_FACTS = "long_term", "long_term.json"
"""Folder of what contents are worth later, from format 5 on, and in it what holds for all; not there where the log is
too short."""
LONG_TERM_ARRAYS = ("expected.npy", "deviation.npy")
CONTENT_MAP = "content_map.npy"
CONTENT_EMBEDDINGS, USER_EMBEDDINGS = "content_embeddings", "user_embeddings"
"""Folders of Parquet parts, for whoever reads vectors."""
USERS_OF_FORMAT_1 = "user_embeddings/part-0.parquet"
"""Listeners with their vectors, which format 1 holds nowhere else."""
USER_TOWER, CONTENT_TOWER = "user_tower.onnx", "content_tower.onnx"
FEATURES = "features.json"
"""How raw events and metadata became codes."""
VOCABULARIES = "vocabularies"
"""Folder of a Parquet file for each vocabulary."""
PLAYLISTS = "playlists.arrow"
"""Who made which playlist when, and of what; from format 4 on."""
HISTORIES = "histories"
"""Folder of the listeners' events and features."""
HISTORY_EVENTS, HISTORY_OFFSETS, USER_CODES = "events.arrow", "offsets.npy", "user_codes.npy"
AXES = "axes.npy"
"""The matrix from the model's vectors to those that are exported, which are normalised after it; formats 1 and 2 have
none."""
INDEX = "index"
"""Folder of what finds the nearest contents."""
INDEX_SPACE_ID, INDEX_FILE, INDEX_EFFORT = "space_id", "contents.faiss", "effort.json"
"""Whose vectors are indexed, FAISS' own file, and how hard a compressed index searches."""
INDEX_CODES, INDEX_SIZES = "cells.bin", "cells.npy"
"""A compressed index's inverted lists, and how long each is."""
INDEX_CENTROIDS, INDEX_MEMBERS, INDEX_VECTORS = "centroids.npy", "members.npy", "vectors.npy"
"""Files of an index without codes, which has none of FAISS: centroids, and rows and vectors, cell by cell."""
INDEX_FILES = (
    INDEX_FILE, INDEX_EFFORT, INDEX_CODES, INDEX_SIZES, INDEX_CENTROIDS, INDEX_MEMBERS, INDEX_VECTORS
)  # fmt: skip
"""All that an index of some kind has; which kind it is follows from what is there."""
ROTATION, ROTATION_FACTS = "space_map.npy", "space_map.json"
"""The matrix onto the earlier version's space, and what it was fitted on."""
DRIFT = "drift.json"

SMALL = 4_096
"""Bytes; what is smaller is read."""


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Yields `path`; what numpy, pyarrow and FAISS raise for an unreadable file becomes a `UserError` that names it."""
    try:
        yield path
    except FileNotFoundError:
        raise UserError(f"{path}: missing; make or copy the export again") from None
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); make or copy the export again") from error


def mapped_array(path: Path) -> np.ndarray:
    """A memory-mapped array, whose pages all processes share.

    Raises:
        UserError: it is missing or damaged.
    """
    with reading(path):
        is_small = path.stat().st_size < SMALL  # an array without numbers cannot be mapped
        array = np.load(path, mmap_mode=None if is_small else "r", allow_pickle=False)
    return np.asarray(array)  # a plain view of the map: memmap's own class makes every small slice slow


def mapped_table(path: Path) -> pa.Table:
    """A memory-mapped Arrow file; raises as `mapped_array`."""
    with reading(path):
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
