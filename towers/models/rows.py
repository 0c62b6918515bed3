"""Tables with a row per content: replicated on every process, or sharded by rows over the ranks of a training.

A sharded table has the layout of `torch.distributed.tensor` (`Shard(0)` over all ranks: each rank has contiguous rows,
and the last ranks may have fewer). A step only exchanges the rows that it uses, by all-to-all, and sends their
gradients back. Every rank knows the contents of all ranks (`towers.batch.Route`), so the numbers of rows to exchange
are known before the step begins, without a synchronisation. Outside of steps, where all ranks look up the same rows,
torch's row-wise embedding of a distributed tensor is used.
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
"""Number of rows initialised from one generator, so that initial values do not depend on the number of ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The sharding of one table's rows.

    Args:
        num_rows: number of rows of the table.
        rank: rank of this process.
        ranks: number of ranks that share the table; with one, nothing is sent.
    """

    num_rows: int
    rank: int
    ranks: int

    @property
    def own(self) -> slice:
        """Slice of this rank's rows."""
        return rows_of_rank(self.num_rows, self.rank, self.ranks)

    @property
    def num_own(self) -> int:
        """Number of this rank's rows."""
        return self.own.stop - self.own.start

    def spread(self, own: Float[Tensor, "own dim"]) -> Tensor:
        """Returns this rank's rows as a shard of a distributed tensor, which checkpoints write rank by rank; with one
        rank, the rows themselves."""
        if self.ranks == 1:
            return own
        shape = torch.Size((self.num_rows, *own.shape[1:]))
        mesh = mesh_of_all(own.device.type, self.ranks)
        return DTensor.from_local(own, mesh, [Shard(0)], run_check=False, shape=shape, stride=_stride(shape))

    def part(self, table: Tensor) -> Tensor:
        """Returns this rank's rows of a table, which is whole or a distributed tensor.

        Raises:
            UserError: the table has another number of rows.
        """
        if len(table) != self.num_rows:
            raise UserError(
                f"a table of the checkpoint has {len(table):,} rows where {self.num_rows:,} are expected, so rows "
                "would go to other contents; delete the folder of the run to train anew"
            )
        if isinstance(table, DTensor):
            return table.to_local()
        return table if self.ranks == 1 else table[self.own].clone()  # a view would keep the whole table in memory

    def exchanged(self, owned: Float[Tensor, "sent dim"], route: Route) -> Float[Tensor, "received dim"]:
        """Sends rows to the ranks that need them; gradients are sent back."""
        if self.ranks == 1:
            return owned
        world = dist.group.WORLD
        assert world is not None
        return all_to_all_single_autograd(owned, list(route.received), list(route.sent), world)

    def everywhere(self, own: Float[Tensor, "own dim"], rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows dim"]:
        """Returns rows that all ranks look up at the same time."""
        if self.ranks == 1:
            return own[rows]
        spread = self.spread(own if len(own) else own.new_zeros(1, own.shape[1]))  # the lookup fails on an empty shard
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
            rows: content rows.
            route: exchange of a step's rows; null outside of steps.
        """
        ...

    def set(self, rows: Int[Tensor, " contents"], vectors: Float[Tensor, "contents dim"]) -> None:
        """Sets the vectors of contents."""
        ...

    def admit(self, has_row: Bool[Tensor, " contents"]) -> None:
        """Resizes the table for weights in which these contents have a row; current values may be lost."""
        ...


@runtime_checkable
class Rows(Protocol):
    """Layout of tables with a row per content over the processes of a training."""

    def ids(self, has_row: Bool[Tensor, " contents"], dim: int) -> IdTable:
        """Returns a module that is an `IdTable`.

        Args:
            has_row: contents whose vectors are needed.
            dim: dimension of the vectors.
        """
        ...

    def division(self, num_rows: int) -> Division | None:
        """Returns the sharding of a table; null if every process has the whole table."""
        ...


class Whole:
    """Layout in which every process has every row; gradients are dense, and whole tables of them are summed.

    Args:
        rank: rank of this process.
        ranks: number of ranks of the training.
    """

    def __init__(self, rank: int, ranks: int):
        del rank, ranks

    def ids(self, has_row: Bool[Tensor, " contents"], dim: int) -> IdTable:
        """Makes a row for every content, with or without events, as in all earlier checkpoints."""
        return WholeIds(len(has_row), dim)

    def division(self, num_rows: int) -> Division | None:
        """Returns null, as every process has the whole table."""
        return None


WHOLE = Whole(rank=0, ranks=1)
"""Layout of tables in a single process."""


class Divided:
    """Layout in which every rank has a shard of the rows; gradients and optimiser steps only cover a step's rows.

    With one process, the table is whole, but has no dense gradient.

    Args:
        rank: rank of this process.
        ranks: number of ranks of the training.
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
    """Id table with a row for every content and a dense gradient.

    Args:
        num_contents: number of rows.
        dim: dimension of a row.
    """

    def __init__(self, num_contents: int, dim: int):
        super().__init__(num_contents, dim)
        nn.init.normal_(self.weight, std=dim**-0.5)

    def own_rows(self) -> Tensor:
        """Returns all rows."""
        return self.weight

    def forward(self, input: Int[Tensor, " contents"], route: Route | None = None) -> Float[Tensor, "contents dim"]:
        """Returns the vectors of contents; the route is not used, as this process has all rows."""
        return super().forward(input)

    @torch.no_grad()
    def set(self, rows: Int[Tensor, " contents"], vectors: Float[Tensor, "contents dim"]) -> None:
        """Sets the vectors of contents."""
        self.weight[rows] = vectors

    def admit(self, has_row: Bool[Tensor, " contents"]) -> None:
        """Does nothing: every content has a row."""


class DividedIds(nn.Module):
    """This rank's shard of an id table, and the gradient of the rows that the last step used.

    The parameter requires no gradient, because autograd's would be as large as the table. Instead, each lookup of a
    step keeps the tensor of rows that were sent out, which accumulates their gradient (`gradient`).

    Args:
        has_row: contents that have a row; the vectors of others are zero.
        dim: dimension of a row.
        division: sharding of the rows.
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
        """Returns the vectors of this rank's contents of a step; without a route, those that all ranks look up."""
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
        """Sets the vectors of contents that have a row; only in a process that has all rows."""
        assert self.division.ranks == 1
        places = self.row_of[rows]
        has_row = places >= 0
        self.weight[places[has_row]] = vectors[has_row]

    def admit(self, has_row: Bool[Tensor, " contents"]) -> None:
        """Resizes the table for weights in which these contents have a row; current values are lost if they differ.

        The parameter stays the same object, so that an optimiser keeps its reference.
        """
        row_of = rows_in_order(has_row.to(self.row_of.device))
        if torch.equal(row_of, self.row_of):
            return
        self.row_of = row_of
        self.division = replace(self.division, num_rows=int(has_row.sum()))
        self.weight.data = self.weight.new_empty(self.division.num_own, self.weight.shape[1])
        self.forget()

    def gradient(self) -> tuple[Int[Tensor, " met"], Float[Tensor, "met dim"]] | None:
        """Returns this rank's rows used since `forget`, each once, and their gradient, which may be changed.

        The gradient is already summed over ranks. A step uses every content once; gradients of several steps are added
        up. Null if nothing was looked up.
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
        """Discards the gradient."""
        self._met = []


def rows_in_order(has_row: Bool[Tensor, " contents"]) -> Int[Tensor, " contents"]:
    """Returns the table row of each content, int32; -1 if it has none.

    >>> rows_in_order(torch.tensor([True, False, True])).tolist()
    [0, -1, 1]
    """
    return (has_row.cumsum(0) - 1).masked_fill(~has_row, -1).to(torch.int32)


def _gradient_of(owned: Tensor) -> Tensor:
    return torch.zeros_like(owned) if owned.grad is None else owned.grad


def _drawn(division: Division, dim: int, seed: int) -> Float[Tensor, "own dim"]:
    """Draws initial values of this rank's rows, which do not depend on the sharding."""
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
    """Returns the one-dimensional mesh of all ranks; created once, by all ranks together."""
    assert dist.get_world_size() == ranks
    return DeviceMesh(device_type, list(range(ranks)))
