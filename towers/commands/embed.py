"""`towers embed`: the vector of a listener or a content that the export does not have."""

import json
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from towers.commands.asked import history_of, mapping_of, sound_of, told
from towers.config.instantiate import value
from towers.errors import UserError
from towers.manifest import atomic_file
from towers.retrieval.asker import newcomer
from towers.retrieval.encoded import Encoded
from towers.retrieval.export import Export
from towers.retrieval.raw_contents import encode_content


def run(config: DictConfig) -> np.ndarray:
    """Prints the vector as JSON, or writes it to `output`; returns it."""
    export = Export(Path(config.export), value(config, "check", bool))
    output = value(config, "output", str | None)
    vector = told(encoded(config, export))
    if output is None:
        print(json.dumps(vector.tolist()))
        return vector
    with atomic_file(Path(output)) as temporary, temporary.open("wb") as file:
        np.save(file, vector)
    print(f"wrote {output}: {len(vector)} numbers of space {export.space_id}")
    return vector


def encoded(config: DictConfig, export: Export) -> Encoded:
    """Encodes what the keys describe: a listener, or a content."""
    history, features = history_of(config, export), mapping_of(config, "features")
    audio, metadata = sound_of(config), mapping_of(config, "metadata")
    is_listener, is_content = bool(history is not None or features), bool(audio is not None or metadata)
    if is_listener == is_content:
        raise UserError("give either history and features of a listener, or audio and metadata of a content")
    if is_content:
        return encode_content(export, audio, metadata or {})
    return newcomer(export, history, features)[0]
