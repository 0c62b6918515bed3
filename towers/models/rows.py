"""Tables with a row a content: whole on every process, or divided by rows among the ranks of a training.

A divided table stands as `torch.distributed.tensor` divides it (`Shard(0)` over all ranks: neighbours stay together,
and the last ranks may have fewer rows). In a step only the rows that it meets travel, by all-to-all, and so do their
gradients, back to where the rows stand. How many rows go where is known before a step begins, as every rank knows the
contents of all (`towers.batch.Route`), so nobody waits for a device to learn it. Outside of steps, where all ranks ask
for the same rows, torch's own row-wise embedding of a distributed tensor answers.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, runtime_checkable

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.nn.functional import embedding

from towers.batch import Route, rows_of_rank
from towers.errors import UserError

ROWS_DRAWN_AT_ONCE = 4_096
"""Rows whose first values come from one generator, so that they do not depend on how a table is divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How the rows of one table are divided.

    Args:
        num_rows: of the table.
        rank: of this process.
        ranks: that share the table; with one nothing is sent.
    """

    num_rows: int
    rank: int
    ranks: int

    @property
    def own(self) -> slice:
        """Returns this rank's rows."""
        return rows_of_rank(self.num_rows, self.rank, self.ranks)

    @property
    def num_own(self) -> int:
        """Returns the number of this rank's rows."""
        return self.own.stop - self.own.start

    def spread(self, own: Float[Tensor, "own dim"]) -> Tensor:
        """Returns this rank's rows as a part of the whole, which checkpoints write rank by rank; with one rank as they
        are."""
        if self.ranks == 1:
            return own
        shape = torch.Size((self.num_rows, *own.shape[1:]))
        mesh = mesh_of_all(own.device.type, self.ranks)
        return DTensor.from_local(own, mesh, [Shard(0)], run_check=False, shape=shape, stride=_stride(shape))

    def part(self, table: Tensor) -> Tensor:
        """Returns this rank's rows of a table that is whole, or spread.

        Raises:
            UserError: it has another number of rows.
        """
        if len(table) != self.num_rows:
            raise UserError(
                f"a table of the checkpoint has {len(table):,} rows where {self.num_rows:,} are expected, so rows "
                "would go to other contents; delete the folder of the run to train anew"
            )
        if isinstance(table, DTensor):
            return table.to_local()
        return table if self.ranks == 1 else table[self.own].clone()  # a view would keep the whole

    def exchanged(self, owned: Float[Tensor, "sent dim"], route: Route) -> Float[Tensor, "received dim"]:
        """Sends rows to the ranks that want them; the gradient goes the other way."""
        if self.ranks == 1:
            return owned
        world = dist.group.WORLD
        assert world is not None
        return all_to_all_single_autograd(owned, list(route.received), list(route.sent), world)

    def everywhere(self, own: Float[Tensor, "own dim"], rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows dim"]:
        """Returns rows that all ranks ask for at the same time."""
        if self.ranks == 1:
            return own[rows]
        spread = self.spread(own if len(own) else own.new_zeros(1, own.shape[1]))  # a look-up needs a row to point at
        assert isinstance(spread, DTensor)
        asked = DTensor.from_local(rows, spread.device_mesh, [Replicate()], run_check=False)
        found = embedding(asked, spread)
        assert isinstance(found, DTensor)
        return found.redistribute(placements=[Replicate()]).to_local()


@runtime_checkable  # for the tests, which check annotations at run time
class IdTable(Protocol):
    """A trained vector for the id of a content."""

    def own_rows(self) -> Tensor:
        """Returns this process's rows, the parameter itself.

        A method, since from Python 3.12 on a protocol's check does not see the parameters of a module.
        """
        ...

    def __call__(self, rows: Int[Tensor, " contents"], route: Route | None) -> Float[Tensor, "contents dim"]:
        """Returns the vectors of contents.

        Args:
            rows: of contents.
            route: how a step's rows travel; null outside of steps.
        """
        ...

    def set(self, rows: Int[Tensor, " contents"], vectors: Float[Tensor, "contents dim"]) -> None:
        """Sets the vectors of contents."""
        ...

    def admit(self, has_row: Bool[Tensor, " contents"]) -> None:
        """Makes room for weights of which these contents have a row; what stood there may be lost."""
        ...


@runtime_checkable
class Rows(Protocol):
    """How tables with a row a content stand in the processes of a training."""

    def ids(self, has_row: Bool[Tensor, " contents"], dim: int) -> IdTable:
        """Returns a module that is an `IdTable`.

        Args:
            has_row: of which contents the vectors matter.
            dim: of the vectors.
        """
        ...

    def division(self, num_rows: int) -> Division | None:
        """Returns how a table is divided; null: it is whole on every process."""
        ...


class Whole:
    """Every process has every row; gradients are dense, and summed whole.

    Args:
        rank: of this process.
        ranks: of the training.
    """

    def __init__(self, rank: int, ranks: int):
        del rank, ranks

    def ids(self, has_row: Bool[Tensor, " contents"], dim: int) -> IdTable:
        """Makes a row a content, whether it has events or not: so it has been in every checkpoint."""
        return WholeIds(len(has_row), dim)

    def division(self, num_rows: int) -> Division | None:
        """Gives null: it is whole."""
        return None


WHOLE = Whole(rank=0, ranks=1)
"""As tables stand in a process that works alone."""


class Divided:
    """Every rank has its share of the rows; gradients and steps of the optimiser are of the rows that a step meets.

    With one process it is the table without its dense gradient.

    Args:
        rank: of this process.
        ranks: of the training.
    """

    def __init__(self, rank: int, ranks: int):
        self._rank = rank
        self._ranks = ranks

    def ids(self, has_row: Bool[Tensor, " contents"], dim: int) -> IdTable:
        """Makes a row for each content that has one, in the order of contents."""
        return DividedIds(has_row, dim, self.division(int(has_row.sum())))

    def division(self, num_rows: int) -> Division:
        """Divides into equal shares; the last ranks may have fewer rows."""
        return Division(num_rows=num_rows, rank=self._rank, ranks=self._ranks)


class WholeIds(nn.Embedding):
    """A row a content, with a dense gradient.

    Args:
        num_contents: rows.
        dim: of a row.
    """

    def __init__(self, num_contents: int, dim: int):
        super().__init__(num_contents, dim)
        nn.init.normal_(self.weight, std=dim**-0.5)

    def own_rows(self) -> Tensor:
        """Returns all rows."""
        return self.weight

    def forward(self, input: Int[Tensor, " contents"], route: Route | None = None) -> Float[Tensor, "contents dim"]:
        """Returns the vectors of contents; all rows are here."""
        return super().forward(input)

    @torch.no_grad()
    def set(self, rows: Int[Tensor, " contents"], vectors: Float[Tensor, "contents dim"]) -> None:
        """Sets the vectors of contents."""
        self.weight[rows] = vectors

    def admit(self, has_row: Bool[Tensor, " contents"]) -> None:
        """Does nothing: every content has a row."""


class DividedIds(nn.Module):
    """This rank's rows of a table, and the gradient of those that the step behind has met.

    The parameter asks for no gradient: autograd's would be as large as the table. Each look-up of a step remembers the
    rows that were sent out, as they were, and these gather the gradient (`gradient`).

    Args:
        has_row: contents that have a row; the vectors of others are zero.
        dim: of a row.
        division: of the rows.
    """

    def __init__(self, has_row: Bool[Tensor, " contents"], dim: int, division: Division):
        super().__init__()
        self.division = division
        self.row_of: Tensor
        self.register_buffer("row_of", rows_in_order(has_row), persistent=False)
        seed = int(torch.randint(2**62, ()))  # the same on all ranks, as the training's seed is
        self.weight = nn.Parameter(_drawn(division, dim, seed), requires_grad=False)
        self._met: list[tuple[Tensor, Tensor]] = []

    def own_rows(self) -> Tensor:
        """Returns this rank's rows."""
        return self.weight

    def forward(self, rows: Int[Tensor, " contents"], route: Route | None = None) -> Float[Tensor, "contents dim"]:
        """Returns the vectors of this rank's contents of a step; without a route of contents that all ranks ask for."""
        if route is None:
            if not self.division.num_rows:
                return self.weight.new_zeros(len(rows), self.weight.shape[1])
            places = self.row_of[rows]
            return self.division.everywhere(self.weight, places.clamp(min=0)) * (places >= 0)[:, None]
        owned = self.weight.index_select(0, route.own)
        if self.training and torch.is_grad_enabled():
            owned.requires_grad_()
            self._met.append((route.own, owned))
        received = self.division.exchanged(owned, route)
        return received.new_zeros(len(rows), received.shape[1]).index_copy(0, route.wanted, received)

    @torch.no_grad()
    def set(self, rows: Int[Tensor, " contents"], vectors: Float[Tensor, "contents dim"]) -> None:
        """Sets the vectors of contents that have a row; in a process that has all rows."""
        assert self.division.ranks == 1
        places = self.row_of[rows]
        has_row = places >= 0
        self.weight[places[has_row]] = vectors[has_row]

    def admit(self, has_row: Bool[Tensor, " contents"]) -> None:
        """Makes room for weights of which these contents have a row; what stood there is lost where they are others.

        The parameter stays the same object, so that an optimiser which knows it goes on to.
        """
        row_of = rows_in_order(has_row.to(self.row_of.device))
        if torch.equal(row_of, self.row_of):
            return
        self.row_of = row_of
        self.division = replace(self.division, num_rows=int(has_row.sum()))
        self.weight.data = self.weight.new_empty(self.division.num_own, self.weight.shape[1])
        self.forget()

    def gradient(self) -> tuple[Int[Tensor, " met"], Float[Tensor, "met dim"]] | None:
        """Returns this rank's rows that were met since `forget`, each once, and their gradient, which may be changed.

        It is the sum over ranks already. A step meets every content once; where there were several steps, their
        gradients are added up. Null where nothing was looked up.
        """
        if not self._met:
            return None
        if len(self._met) > 1:
            rows = torch.cat([rows for rows, _ in self._met])
            values = torch.cat([_gradient_of(owned) for _, owned in self._met])
            summed = torch.sparse_coo_tensor(rows[None], values, self.weight.shape, check_invariants=False).coalesce()
            owned = self.weight[summed.indices()[0]]
            owned.grad = summed.values()
            self._met = [(summed.indices()[0], owned)]
        ((rows, owned),) = self._met
        if owned.grad is None:
            owned.grad = torch.zeros_like(owned)
        return rows, owned.grad

    def forget(self) -> None:
        """Lets go of the gradient."""
        self._met = []


def rows_in_order(has_row: Bool[Tensor, " contents"]) -> Int[Tensor, " contents"]:
    """Returns which row of a table each content has, int32; -1 where it has none.

    >>> rows_in_order(torch.tensor([True, False, True])).tolist()
    [0, -1, 1]
    """
    return (has_row.cumsum(0) - 1).masked_fill(~has_row, -1).to(torch.int32)


def _gradient_of(owned: Tensor) -> Tensor:
    return torch.zeros_like(owned) if owned.grad is None else owned.grad


def _drawn(division: Division, dim: int, seed: int) -> Float[Tensor, "own dim"]:
    """Draws first values of this rank's rows, the same however the table is divided."""
    own = torch.empty(division.num_own, dim)
    first, last = division.own.start, division.own.stop
    for start in range(first - first % ROWS_DRAWN_AT_ONCE, last, ROWS_DRAWN_AT_ONCE):
        block = torch.empty(ROWS_DRAWN_AT_ONCE, dim)
        block.normal_(std=dim**-0.5, generator=torch.Generator().manual_seed((seed + start) % 2**63))
        low, high = max(start, first), min(start + ROWS_DRAWN_AT_ONCE, last)
        own[low - first : high - first] = block[low - start : high - start]
    return own


def _stride(shape: torch.Size) -> tuple[int, ...]:
    return torch.empty(shape, device="meta").stride()


@cache
def mesh_of_all(device_type: str, ranks: int) -> DeviceMesh:
    """Returns all ranks in a row; made once, by all ranks together."""
    assert dist.get_world_size() == ranks
    return DeviceMesh(device_type, list(range(ranks)))
