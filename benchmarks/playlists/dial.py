"""What the dial between familiar and new costs: ndcg of a mix at each of its places.

    towers export as_of=2026-07-14
    python benchmarks/playlists/dial.py --export exports/<version> --data data/catalogue

Lists of 50 by `policies/playlists/mix`, with and without the listener's styles, against what each listener chooses
(positive events, whatever they knew) within seven days. ndcg@50 has binary gains; it is a mean over listeners with a
target. Beside each place of the dial: the share of the list that was heard, which is what the dial says wherever there
is enough of both, and the list that the chance of a listen makes without a dial.
"""

import os
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.playlists.blend_world import chosen_between
from benchmarks.playlists.past_export import opened
from towers.policies.listener import Listener
from towers.policies.playlists.mix import Mix
from towers.policies.request import Request, Shared
from towers.retrieval.export import Export

DATA = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data"))
DAYS = 7
PLACES = (None, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def ndcg(rows: Int[np.ndarray, " picks"], targets: Bool[np.ndarray, " contents"], k: int) -> float:
    """Returns the ndcg of one list, with binary gains; the ideal list holds min(k, targets) of them first."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return float((discounts[: len(rows)] * targets[rows]).sum() / discounts[: min(k, int(targets.sum()))].sum())


def curve(
    export: Export, targets: Bool[np.ndarray, "users contents"], users: Int[np.ndarray, " users"], kind: Mix
) -> dict[str, dict[str, Float[np.ndarray, " users"]]]:
    """ndcg and share heard by place of the dial (`none` without it) and listener."""
    shared, found = Shared(export), {}
    for row in users.tolist():
        listener = Listener.of_row(export, row)
        for place in PLACES:
            asked = {} if place is None else {"familiar": place}
            rows = kind.make(Request(shared=shared, listeners=(listener,), asked=asked)).rows
            figures = found.setdefault("none" if place is None else f"{place:g}", {"ndcg": [], "heard": []})
            figures["ndcg"].append(ndcg(rows, targets[row], kind.k))
            figures["heard"].append(float(np.isin(rows, listener.standing.heard).mean()) if len(rows) else 0.0)
    return {place: {name: np.array(values) for name, values in one.items()} for place, one in found.items()}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--export", type=Path, required=True, help="a version, as of the week")
    parser.add_argument("--data", type=Path, default=DATA / "catalogue", help="raw tables with what came afterwards")
    parser.add_argument("--as-of", type=date.fromisoformat, help="cuts the export there, but for vectors and models")
    parser.add_argument("--listeners", type=int, default=600, help="drawn with seed 0")
    add_smallest(parser, listeners=5)
    arguments = parser.parse_args()
    export = opened(arguments.export, arguments.as_of)
    first = export.last_day
    assert first is not None
    targets = chosen_between(export, arguments.data, first, first + timedelta(days=DAYS)) > 0
    users = np.flatnonzero(targets.any(axis=1) & (np.diff(export.all_chosen.offsets) > 0))
    users = np.sort(np.random.default_rng(0).permutation(users)[: arguments.listeners])
    kinds = {"in styles": Mix(), "plain": Mix(calibrated=False)}
    found = {name: curve(export, targets, users, kind) for name, kind in kinds.items()}
    means = {
        name: {place: {key: float(values.mean()) for key, values in one.items()} for place, one in by_place.items()}
        for name, by_place in found.items()
    }
    table = Table("familiar", "heard", *(f"ndcg@50, {name}" for name in means))
    for place in means["plain"]:
        cells = (f"{means[name][place]['ndcg']:.4f}" for name in means)
        table.add_row(place, f"{means['plain'][place]['heard']:.3f}", *cells)
    Console().print(table)
    write_result(arguments, "dial", {"as_of": str(first), "listeners": len(users), "means": means})


if __name__ == "__main__":
    main()
