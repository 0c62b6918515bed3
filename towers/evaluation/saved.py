"""Lossless storage of evaluations in files, so that a baseline is evaluated once for each store and setting."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from towers.errors import UserError
from towers.evaluation.ranking.rankers import Ranked
from towers.evaluation.result import Evaluation, SliceResult
from towers.manifest import atomic_directory, digest_of, digest_of_file, read_json, write_json

FORMAT = 4
"""Version of baselines, harness and file format together; increase it when one of them changes results."""

FACTS, ARRAYS, DIGESTS = "evaluation.json", "arrays.npz", "digests.json"


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Returns 16 hex digits that identify all inputs of an evaluation: the facts, and `FORMAT`.

    Args:
        facts: JSON-like facts: the store's fingerprint, the period, the baseline's configuration, and the settings of
            the harness and of the tuning.
    """
    return digest_of([FORMAT, facts])[:16]


def save(
    evaluation: Evaluation, folder: Path, notes: Mapping[str, Any] | None = None, store: str | None = None
) -> None:
    """Writes an evaluation, JSON-like notes and the store's fingerprint to a new folder."""
    arrays = {"user_rows": evaluation.user_rows}
    slices = {}
    for place, (name, result) in enumerate(evaluation.slices.items()):
        slices[name] = list(result.values)
        arrays[f"positions/{place}"] = result.positions
        if result.values:  # one array per slice: reading thousands of small arrays takes seconds
            arrays[f"values/{place}"] = np.stack(list(result.values.values()))
    for ranking, ranked in evaluation.lists.items():
        arrays |= {f"rows/{ranking}": ranked.rows, f"scores/{ranking}": ranked.scores}
    facts = {
        "ranker": evaluation.ranker,
        "min_users": evaluation.min_users,
        "slices": slices,
        "lists": list(evaluation.lists),
        "catalogue": dict(evaluation.catalogue),
        "notes": dict(notes or {}),
        "store": store,
    }
    with atomic_directory(folder) as temporary:
        # Not `write_json`, which converts types unknown to JSON to text and would not be lossless.
        (temporary / FACTS).write_text(json.dumps(facts, ensure_ascii=False))
        np.savez_compressed(temporary / ARRAYS, allow_pickle=False, **arrays)
        write_json(temporary / DIGESTS, {name: digest_of_file(temporary / name) for name in (FACTS, ARRAYS)})


def load(folder: Path) -> Evaluation:
    """Reads the evaluation that `save` wrote, equal in every number and type.

    Raises:
        UserError: the folder has no evaluation, or a damaged one.
    """
    facts = _facts(folder)
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        return Evaluation(
            ranker=facts["ranker"],
            user_rows=arrays["user_rows"],
            slices={
                name: SliceResult(
                    positions=arrays[f"positions/{place}"],
                    values=dict(zip(metrics, arrays[f"values/{place}"], strict=True)) if metrics else {},
                )
                for place, (name, metrics) in enumerate(facts["slices"].items())
            },
            min_users=facts["min_users"],
            lists={
                ranking: Ranked(rows=arrays[f"rows/{ranking}"], scores=arrays[f"scores/{ranking}"])
                for ranking in facts["lists"]
            },
            catalogue=facts["catalogue"],
        )


def load_notes(folder: Path) -> dict[str, Any]:
    """Reads the notes that `save` wrote beside the evaluation.

    Raises:
        UserError: the folder has no evaluation, or a damaged one.
    """
    return _facts(folder)["notes"]


def cached(
    root: Path,
    key: str,
    compute: Callable[[], tuple[Evaluation, dict[str, Any]]],
    store: str | None = None,
    is_for_good: Callable[[Mapping[str, Any]], bool] = lambda notes: True,
) -> tuple[Evaluation, dict[str, Any]]:
    """Returns the evaluation and its notes from `root/key`; computes and saves them if they are missing.

    A damaged or incomplete entry is computed again.

    Args:
        root: folder of all entries.
        key: a `fingerprint`.
        compute: function that returns the evaluation and JSON-like notes.
        store: fingerprint of the evaluated store; the entry is removed together with it.
        is_for_good: function of the notes that returns whether to save the result; if not, it is computed each time.
    """
    folder = root / key
    try:
        return load(folder), load_notes(folder)
    except UserError:
        shutil.rmtree(folder, ignore_errors=True)
    evaluation, notes = compute()
    if is_for_good(notes):
        save(evaluation, folder, notes, store)
    return evaluation, notes


def _facts(folder: Path) -> dict[str, Any]:
    """Reads the facts, after checking them and the arrays against their digests."""
    digests = read_json(folder / DIGESTS)
    for name in (FACTS, ARRAYS):
        if not (folder / name).exists() or digest_of_file(folder / name) != digests.get(name):
            raise UserError(f"{folder / name}: damaged; remove {folder}, and it is computed again")
    return read_json(folder / FACTS)
