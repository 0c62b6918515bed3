"""Counts the memory of a step on a card, without one.

    python benchmarks/training/card_memory.py experiment=demo datamodule.max_tokens=131072 user_tower.dim=512
    python benchmarks/training/card_memory.py experiment=demo --cpu trainer.precision=float32

Steps of the product on torch's meta device under the name of a card (`card.py` beside): every storage that is made
is counted, in the 512 bytes that CUDA's allocator rounds to, until it is let go of. What the allocator keeps in
reserve, the room that kernels take for themselves and the driver's context come on top. `--cpu` counts the same way
while the processor computes, which shows that the count is right: between steps both hold the same.
"""

import tempfile
import weakref
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.training.card import AnyPlace, Card
from benchmarks.training.small_sequences import prepared
from benchmarks.training.throughput import step
from towers.assembly.prepared import prepared_store
from towers.assembly.training import build, training_plan
from towers.config.composing import compose
from towers.data.training_batches import Share

ROUNDED_TO = 512
"""Bytes."""


class Held(TorchDispatchMode):
    """Counts the bytes of storages while they live.

    Args:
        is_on_card: whether to count what is on the card, or what the processor holds.
        tensors: that are there already.

    Attributes:
        now: bytes.
        peak: bytes, the most that there were.
    """

    def __init__(self, is_on_card: bool, tensors: Iterable[Tensor]):
        super().__init__()
        self.now = self.peak = 0
        self._is_on_card = is_on_card
        self._there: set[int] = set()
        for tensor in tensors:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            for leaf in tree_leaves(made):
                if isinstance(leaf, Tensor):
                    self._add(leaf)
        return made

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if tensor.is_meta != self._is_on_card or storage._cdata in self._there:
            return
        size = -(-storage.nbytes() // ROUNDED_TO) * ROUNDED_TO
        self._there.add(storage._cdata)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._let_go, storage._cdata, size)

    def _let_go(self, storage: int, size: int) -> None:
        self._there.discard(storage)
        self.now -= size


def counted(is_cpu: bool, steps: int, overrides: list[str]) -> dict[str, Any]:
    """Bytes that some steps hold, and between steps."""
    config = compose("train", [*overrides, "logger=csv", "trainer.progress=false"])
    parts = build(training_plan(config, prepared_store(config).open()), Share())
    module, batches = parts.module.train(), list(islice(parts.data.loaders.training(-1), steps))
    if not is_cpu:
        module.learner.to("meta")
    optimizer = module.configure_optimizers()
    held = Held(not is_cpu, [*module.learner.parameters(), *module.learner.buffers()])
    with nullcontext() if is_cpu else Card(AnyPlace()), held:
        for batch in batches:
            step(module, optimizer, batch if is_cpu else batch.pin_memory().to("cuda"))
    return {
        "experiment": config.name,
        "overrides": overrides,
        "device": "the processor" if is_cpu else "a card that is not there",
        "parameters": sum(parameter.numel() for parameter in module.learner.parameters()),
        "tokens": max(sum(micro.histories.action.numel() for micro in batch.micro_batches) for batch in batches),
        "between_steps_gb": held.now / 1e9,
        "peak_gb": held.peak / 1e9,
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--cpu", action="store_true", help="counts while the processor computes")
    parser.add_argument("--steps", type=int, default=3, help="that are counted")
    add_smallest(parser, steps=1)
    arguments, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.smallest:
            overrides = [*prepared(Path(folder)), *overrides]
        figures = counted(arguments.cpu, arguments.steps, overrides)
    print(f"{figures['parameters']:,} parameters, {figures['tokens']:,} padded tokens a step: between steps "
          f"{figures['between_steps_gb']:.3f} GB, at most {figures['peak_gb']:.3f} GB")  # fmt: skip
    write_result(arguments, f"card_memory-{figures['experiment']}-{'cpu' if arguments.cpu else 'meta'}", figures)


if __name__ == "__main__":
    main()
