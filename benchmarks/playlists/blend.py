"""What is one list for a group worth to each member, beside their own list? The blend, and other ways to make one.

    scripts/peers benchmarks/peers/grouprec.txt .venv-peers-grouprec
    python benchmarks/playlists/blend.py --export exports/current --as-of 2026-07-06

Histories, vectors and popularity are cut at the day; targets are what members chose within the next seven, by the raw
events. Groups are random listeners with targets. All ways to make a list of 50 read the same
utilities, and choose among what is allowed and no member disliked.

| column | is |
|---|---|
| worst | ndcg@50 of the worst-served member, over that of their own list of 50 by utility; the chance of a listen |
|       | says who that is (its discounted sum over the list, over that of the own list), before targets are seen |
| mean | the same over all members; both are ratios of sums over groups |
| to round robin | the difference of `worst` to that of round robin, with a 95 % interval by resampling groups |
| off equal | the largest of all groups and members: share of the list's places less 1 / N, in points. Shares are in |
|           | proportion to worth by rank (`policies/credit`), of the blend and of round robin they are its credits |
| hits | targets in the list over those in the own list of 50 / N, both summed over members |

Aggregators of grouprec are given the chances of a listen, and `--judged` groups of each size are judged by its own
`evaluate`, too. The taste match is held against the cosine of what both chose within 14 days, counted by content:
Spearman's rank correlation over random pairs, and pairs of which one is among the 50 nearest of the other.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from benchmarks.apart import GROUPREC
from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.playlists.blend_world import World
from towers.policies.credit import worth_by_rank
from towers.policies.match import likeness
from towers.policies.playlists.blend import BlendSettings, blend

DATA = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data"))
NEAREST = 50
DRAWS = 1_000
BLEND, ROUND_ROBIN = "blend", "round robin"

Scores = Float[np.ndarray, "members contents"]
Way = Callable[[Scores, int], Int[np.ndarray, " k"]]
"""A way from log-odds of a listen, by member, and a number of places to a list."""


def round_robin(utilities: Scores, k: int) -> Int[np.ndarray, " k"]:
    """The best that is left of one member after the other."""
    left, picks = utilities.copy(), []
    for place in range(min(k, utilities.shape[1])):
        picks.append(int(left[place % len(left)].argmax()))
        left[:, picks[-1]] = -np.inf
    return np.array(picks)


def nash(utilities: Scores, k: int) -> Int[np.ndarray, " k"]:
    """The blend's product without its credit: one member, as far as credit is concerned."""
    worth, discounts = worth_by_rank(utilities), 1 / np.log2(np.arange(k) + 2)
    relative = worth / (-np.sort(-worth, axis=1)[:, :k] @ discounts)[:, None]
    received, picks, left = np.full(len(worth), 1 / k), [], np.ones(worth.shape[1], bool)
    for discount in discounts:
        product = np.log(received[:, None] + discount * relative).sum(axis=0)
        picks.append(int(np.where(left, product, -np.inf).argmax()))
        left[picks[-1]] = False
        received = received + discount * relative[:, picks[-1]]
    return np.array(picks)


def best_by(total: Callable[[Scores], Float[np.ndarray, " contents"]]) -> Way:
    """The contents with the largest totals."""
    return lambda utilities, k: np.argsort(-total(utilities), kind="stable")[:k]


WAYS: dict[str, Way] = {
    ROUND_ROBIN: round_robin,
    "sum of utilities": best_by(lambda utilities: utilities.sum(axis=0)),
    "average chance": best_by(lambda utilities: (1 / (1 + np.exp(-utilities))).mean(axis=0)),
    "least misery": best_by(lambda utilities: utilities.min(axis=0)),
    "most pleasure": best_by(lambda utilities: utilities.max(axis=0)),
    "Nash without credit": nash,
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--export", type=Path, required=True, help="a version of an export, or `current`")
    parser.add_argument("--data", type=Path, default=DATA / "catalogue", help="raw tables with what came afterwards")
    parser.add_argument("--as-of", type=date.fromisoformat, nargs="+", required=True, metavar="DAY")
    parser.add_argument("--sizes", type=int, nargs="+", default=(2, 3, 5, 10))
    parser.add_argument("--groups", type=int, default=300, help="of each size")
    parser.add_argument("--judged", type=int, default=50, help="of each size, by grouprec")
    parser.add_argument("--pairs", type=int, default=2_000, help="random ones, and as many near ones")
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(parser, groups=3, judged=2, pairs=50)
    arguments = parser.parse_args()
    figures, version = {}, ""
    for as_of in arguments.as_of:
        world = World.of(arguments.export, arguments.data, as_of, arguments.k)
        version = world.export.version
        lists, match = of_groups(world, as_of, arguments), of_pairs(world, as_of, arguments)
        figures[str(as_of)] = {"lists": lists, "taste match": match}
    sizes = {key: getattr(arguments, key) for key in ("groups", "judged", "pairs", "k", "seed")}
    write_result(arguments, "blend", {"export": version, **sizes, "figures": figures})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Some listeners, and what may come to all of them.

    Args:
        members: rows of the listeners.
        contents: rows of what may come.
        shares: `[all contents, members]`, of each content in proportion to its worth, as the blend has them.
    """

    members: Int[np.ndarray, " members"]
    contents: Int[np.ndarray, " contents"]
    shares: Float[np.ndarray, "all_contents members"]

    @classmethod
    def of(cls, world: World, members: Int[np.ndarray, " members"]) -> "Group":
        """The group of these listeners."""
        contents = world.for_all(members)
        worth = worth_by_rank(utilities_of(world, members)[:, contents])
        shares = np.zeros((len(world.may_come), len(members)))
        shares[contents] = (worth / worth.sum(axis=0)).T
        return cls(members=members, contents=contents, shares=shares)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A list for a group.

    Args:
        rows: of its contents, in order.
        shares: whose each place is.
    """

    rows: Int[np.ndarray, " k"]
    shares: Float[np.ndarray, "k members"]


def of_groups(world: World, as_of: date, arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by size of group and way; prints them."""
    found = {}
    for size in arguments.sizes:
        groups = [Group.of(world, members) for members in world.groups(size, arguments.groups, arguments.seed)]
        lists = lists_of(world, groups, arguments.k)
        judged: dict[str, dict[str, float]] = {}
        if GROUPREC.is_installed:
            lists |= lists_by_grouprec(world, groups, arguments.k)
            judged = judged_by_grouprec(world, groups[: arguments.judged], lists, arguments.k)
        own = OwnLists(world, groups)
        robin = own.worst(world, lists[ROUND_ROBIN])
        figures = {way: figures_of(world, own, made, robin) | judged.get(way, {}) for way, made in lists.items()}
        show(figures, f"{as_of}: {len(groups)} groups of {size}")
        found[str(size)] = figures
    return found


def lists_of(world: World, groups: Sequence[Group], k: int) -> dict[str, list[Made]]:
    """Lists of the blend and of `WAYS`, by way."""
    settings = BlendSettings(query=world.query)
    lists: dict[str, list[Made]] = {way: [] for way in (BLEND, "blend, no sequence", *WAYS)}
    for group in groups:
        listeners = [world.listener(user) for user in group.members.tolist()]
        for way, reach in ((BLEND, settings.reach), ("blend, no sequence", 0)):
            made = blend(listeners, replace(settings, reach=reach), world.matches)
            lists[way].append(Made(rows=made.rows, shares=made.facts["shares"]))
        utilities = utilities_of(world, group.members)[:, group.contents]
        for way, make in WAYS.items():
            rows = group.contents[make(utilities, min(k, len(group.contents)))]
            lists[way].append(Made(rows=rows, shares=group.shares[rows]))
        in_turns = np.arange(len(lists[ROUND_ROBIN][-1].rows)) % len(group.members)
        lists[ROUND_ROBIN][-1] = replace(lists[ROUND_ROBIN][-1], shares=np.eye(len(group.members))[in_turns])
    return lists


def utilities_of(world: World, members: Int[np.ndarray, " members"]) -> Float[np.ndarray, "members contents"]:
    """Returns scores of all contents."""
    return np.stack([world.utilities(user) for user in members.tolist()])


class OwnLists:
    """Returns the value of each member's own list.

    Args:
        world: gives the lists.
        groups: whose members they are of.
    """

    def __init__(self, world: World, groups: Sequence[Group]):
        self.members = [group.members.tolist() for group in groups]
        self.size = len(self.members[0])
        users = sorted({user for some in self.members for user in some})
        own = {user: world.own_list(user) for user in users}
        self._ndcg = {user: ndcg(world.targets[user], own[user]) for user in users}
        self._expected = {user: expected(world.chances(user), own[user]) for user in users}
        share = world.query.k // self.size
        self.hits = sum(int(world.targets[user, own[user][:share]].sum()) for some in self.members for user in some)
        self.ndcgs = np.array([[self._ndcg[user] for user in some] for some in self.members])

    def worst(self, world: World, lists: Sequence[Made]) -> Float[np.ndarray, "groups 2"]:
        """By group, of who is served worst by the model: ndcg of the group's list, and of their own."""
        found = []
        for some, made in zip(self.members, lists, strict=True):
            served = {user: expected(world.chances(user), made.rows) / self._expected[user] for user in some}
            worst = min(served, key=lambda user: served[user])
            found.append((ndcg(world.targets[worst], made.rows), self._ndcg[worst]))
        return np.array(found)


def figures_of(
    world: World, own: OwnLists, lists: Sequence[Made], robin: Float[np.ndarray, "groups 2"]
) -> dict[str, float]:
    """The columns of the table, of one way and one size of group."""
    pairs = [(user, made) for some, made in zip(own.members, lists, strict=True) for user in some]
    got = np.array([ndcg(world.targets[user], made.rows) for user, made in pairs])
    worst = own.worst(world, lists)
    drawn = np.random.default_rng(0).integers(len(worst), size=(DRAWS, len(worst)))
    differences = ratio(worst[drawn].sum(axis=1)) - ratio(robin[drawn].sum(axis=1))
    return {
        "worst": float(ratio(worst.sum(axis=0))),
        "mean": float(got.sum() / own.ndcgs.sum()),
        "to round robin": float(ratio(worst.sum(axis=0)) - ratio(robin.sum(axis=0))),
        "from": float(np.quantile(differences, 0.025)),
        "to": float(np.quantile(differences, 0.975)),
        "off equal": 100 * max(float(np.abs(made.shares.mean(axis=0) - 1 / own.size).max()) for made in lists),
        "hits": sum(int(world.targets[user, made.rows].sum()) for user, made in pairs) / own.hits,
    }


def ratio(sums: Float[np.ndarray, "*draws 2"]) -> Float[np.ndarray, "*draws"]:
    """Returns the ratio of two sums."""
    return sums[..., 0] / np.maximum(sums[..., 1], 1e-12)


def ndcg(targets: Bool[np.ndarray, " contents"], rows: Int[np.ndarray, " k"]) -> float:
    """Returns the figure of a list for one listener."""
    discounts = 1 / np.log2(np.arange(len(rows)) + 2)
    return float(discounts @ targets[rows] / discounts[: int(targets.sum())].sum())


def expected(chances: Float[np.ndarray, " contents"], rows: Int[np.ndarray, " k"]) -> float:
    """The discounted sum of the chances of a listen."""
    return float(chances[rows] @ (1 / np.log2(np.arange(len(rows)) + 2)))


def lists_by_grouprec(world: World, groups: Sequence[Group], k: int) -> dict[str, list[Made]]:
    """Lists of all its aggregators, by way."""
    with tempfile.TemporaryDirectory() as folder:
        told, lists = Path(folder) / "groups.npz", Path(folder) / "lists.npz"
        np.savez(told, allow_pickle=False, **told_of(world, groups))
        peer("aggregate", told, lists, k=k)
        found: dict[str, list[Made]] = {}
        for path, rows in np.load(lists).items():  # in the order of groups
            group = groups[len(found.setdefault(f"grouprec {path.split('/')[0]}", []))]
            found[f"grouprec {path.split('/')[0]}"].append(Made(rows=rows, shares=group.shares[rows]))
    return found


def judged_by_grouprec(
    world: World, groups: Sequence[Group], lists: dict[str, list[Made]], k: int
) -> dict[str, dict[str, float]]:
    """Coupled and decoupled ndcg, by way."""
    with tempfile.TemporaryDirectory() as folder:
        told, said, judged = (Path(folder) / name for name in ("groups.npz", "lists.npz", "judged.json"))
        np.savez(told, allow_pickle=False, **told_of(world, groups))
        some = {way: made[: len(groups)] for way, made in lists.items()}
        np.savez(
            said,
            allow_pickle=False,
            **{f"{way}/{place}": one.rows for way, made in some.items() for place, one in enumerate(made)},
        )
        peer("judge", told, said, judged, k=k)
        return json.loads(judged.read_text())


def told_of(world: World, groups: Sequence[Group]) -> dict[str, np.ndarray]:
    """Writes the input of peers/grouprec_lists.py."""
    chances = np.zeros(world.targets.shape, np.float32)
    for user in {user for group in groups for user in group.members.tolist()}:
        chances[user] = world.chances(user)
    told = {"chances": chances, "targets": world.targets}
    for place, group in enumerate(groups):
        told |= {f"members/{place}": group.members, f"contents/{place}": group.contents}
    return told


def peer(*arguments: str | Path, k: int) -> None:
    """Runs grouprec in its environment."""
    print(GROUPREC.output_of("grouprec_lists.py", *arguments, "--k", k), end="")


def show(figures: dict[str, dict[str, float]], title: str) -> None:
    columns = ["worst", "mean", "to round robin", "off equal", "hits"]
    columns += [name for name in figures[BLEND] if name.startswith(("coupled", "decoupled"))]
    table = Table("", *columns, title=title)
    for way, row in figures.items():
        cells = {name: f"{row[name]:.3f}" for name in columns if name in row}
        cells["to round robin"] = f"{row['to round robin']:+.3f} ({row['from']:+.3f} to {row['to']:+.3f})"
        cells["off equal"] = f"{row['off equal']:.1f}"
        table.add_row(way, *(cells.get(name, "") for name in columns))
    Console(width=220).print(table)


def of_pairs(world: World, as_of: date, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Spearman's rank correlation of the taste match, and of its parts, with what two chose later; prints it."""
    random, export, after = np.random.default_rng(arguments.seed), world.export, world.counts[14]
    known = [row for row in np.flatnonzero(after.any(axis=1)).tolist() if len(export.chosen(row))]
    vectors = export.user_vectors[known]
    firsts = random.integers(len(known), size=2 * arguments.pairs)
    shifts = random.integers(1, len(known), size=arguments.pairs)
    near = np.argsort(-(vectors[firsts[arguments.pairs :]] @ vectors.T), axis=1, kind="stable")[:, 1 : NEAREST + 1]
    chosen_near = near[np.arange(arguments.pairs), random.integers(near.shape[1], size=arguments.pairs)]
    seconds = np.concatenate([(firsts[: arguments.pairs] + shifts) % len(known), chosen_near])
    likes = [world.matches.of(export.chosen(row), export.user_vectors[row]) for row in known]
    pairs = [(likes[one], likes[other]) for one, other in zip(firsts.tolist(), seconds.tolist(), strict=True)]
    later = after[known] / np.linalg.norm(after[known], axis=1, keepdims=True)
    truth = (later[firsts] * later[seconds]).sum(axis=1)
    said = {
        "vectors' cosine alone": [float(one.vector @ other.vector) for one, other in pairs],
        "styles alone": [float(one.styles @ other.styles) for one, other in pairs],
        "what was chosen alone": [likeness(replace(one, styles=one.styles * 0, vector=one.vector * 0), other)
                                  for one, other in pairs],
        "taste match": [world.matches.match(one, other) for one, other in pairs],
    }  # fmt: skip
    kinds = {"random": slice(arguments.pairs), "near": slice(arguments.pairs, None), "both": slice(None)}
    found = {name: {kind: spearman(np.array(of)[some], truth[some]) for kind, some in kinds.items()}
             for name, of in said.items()}  # fmt: skip
    match = np.array(said["taste match"])[: arguments.pairs]
    table = Table("", *kinds, title=f"{as_of}: taste match, and what {arguments.pairs:,} pairs chose later (Spearman)")
    for name, row in found.items():
        table.add_row(name, *(f"{figure:.3f}" for figure in row.values()))
    Console().print(table)
    print("random pairs' match in per cent, tenths:", np.quantile(match, np.linspace(0, 1, 11)).round().tolist())
    return found


def spearman(some: Float[np.ndarray, " pairs"], others: Float[np.ndarray, " pairs"]) -> float:
    """The rank correlation."""
    return float(np.corrcoef(rankdata(some), rankdata(others))[0, 1])


if __name__ == "__main__":
    main()
