"""A card that is not there: torch's `meta` device under the name `cuda:0`, which tells what makes the host wait.

Code that runs under `Card` meets a CUDA device. What it makes on `cuda`, or copies there, is a meta tensor that says
its device is `cuda:0`; pinned memory, events and autocast to bfloat16 are there. So the product takes the way that it
takes on a card. Meta tensors have shapes and types and no values: a loss that is read is 0. The host is real.

Two things fail here that a processor forgives: an operator that is given tensors of both sides, and a wait for the
card, unless its place is one that is known. A read is a wait, so are a copy from memory that is not pinned and an
operator whose result has a size that only the card knows. What torch's kernels wait for within a call is not seen:
`tests/training/test_gpu.py` asks a real card for that.
"""

import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

functional, aten = torch.nn.functional, torch.ops.aten
CUDA, META = torch.device("cuda", 0), torch.device("meta")
GET_DEVICE, GET_IS_CUDA, GET_IS_META = (getattr(Tensor, name).__get__ for name in ("device", "is_cuda", "is_meta"))
ABOUT_DEVICES = {torch.device, torch._C._nn._parse_to}
"""Functions that speak of devices and make nothing there."""
READS = {
    Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__bool__, Tensor.__float__, Tensor.__int__,
    Tensor.__index__, Tensor.is_nonzero, Tensor.equal, Tensor.allclose, torch.equal, torch.allclose,
}  # fmt: skip
"""Functions that give Python a value."""
MADE_OF_VALUES = {torch.tensor, torch.as_tensor}
INDEXING = {Tensor.__getitem__, Tensor.__setitem__}
IN_HALF = {
    functional.linear, functional.scaled_dot_product_attention, torch.matmul, Tensor.matmul, Tensor.__matmul__,
    torch.mm, torch.bmm, torch.addmm, torch.einsum, torch.conv1d, torch.conv2d,
}  # fmt: skip
"""Functions called by the towers that autocast on CUDA runs in half precision."""
IN_FULL = {
    functional.layer_norm, functional.group_norm, functional.softplus, functional.cosine_similarity, torch.exp,
    Tensor.exp, torch.log, Tensor.log, torch.norm, Tensor.norm,
}  # fmt: skip
"""Functions called by the towers that it runs in float32."""
PACKAGES = ("towers", "pytorch_lightning", "lightning_fabric")
"""Arguments in which a place is looked for."""


class WrongDevice(AssertionError):
    """An operator was given tensors of both sides."""


class HostWaits(AssertionError):
    """The host would wait for the card where it is not allowed to."""


class AnyPlace(Collection[str]):
    """Every place there is: who waits how long does not matter."""

    def __contains__(self, place: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Card:
    """Within the block there is a card, `cuda:0`.

    Args:
        known: places that may make the host wait, as `module.function`, such as `towers.training.optimizing.rest`.

    Attributes:
        waits: how often each place has made the host wait.
        precisions: types that autocast has given to what it knows.
    """

    def __init__(self, known: Collection[str] = ()):
        self.waits: Counter[str] = Counter()
        self.precisions: set[torch.dtype] = set()
        self._known = known
        self._stack = ExitStack()

    def __enter__(self) -> "Card":
        for owner, name, value in self._stand_ins():
            self._stack.enter_context(mock.patch.object(owner, name, value))
        self._stack.enter_context(_Operators(self))
        self._stack.enter_context(_Names(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def wait(self, what: str) -> None:
        """Takes note that the host waits here.

        Raises:
            HostWaits: the place is none of those that are known.
        """
        place = _place()
        if place not in self._known:
            raise HostWaits(f"{place} makes the host wait for the card: {what}")
        self.waits[place] += 1

    def read(self, tensor: Tensor, what: str) -> Tensor:
        """A tensor of the card on the host: zeros, as it has no values."""
        self.wait(what)
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    def _stand_ins(self) -> list[tuple[Any, str, Any]]:
        """Stand-ins for what asks the driver, and for what writes a tensor to disk."""
        card, reduced = self, Tensor._reduce_ex_internal

        class Event:
            def record(self) -> None: ...

            def synchronize(self) -> None:
                card.wait("an event")

        def saved(tensor: Tensor, protocol: int) -> Any:
            return reduced(card.read(tensor, "it is saved") if tensor.is_cuda else tensor, protocol)

        return [
            (torch.cuda, "is_available", lambda: True),
            (torch.cuda, "is_bf16_supported", lambda including_emulation=True: True),
            (torch.cuda, "device_count", lambda: 1),
            (torch.cuda, "current_device", lambda: 0),
            (torch.cuda, "set_device", lambda device: None),
            (torch.cuda, "get_device_capability", lambda device=None: (9, 0)),
            (torch.cuda, "get_device_name", lambda device=None: "a card that is not there"),
            (torch.cuda, "empty_cache", lambda: None),
            (torch.cuda, "synchronize", lambda device=None: card.wait("torch.cuda.synchronize")),
            (torch.cuda, "default_generators", (torch.Generator(),)),
            (torch.cuda, "get_rng_state", lambda device="cuda": torch.get_rng_state()),
            (torch.cuda, "set_rng_state", lambda state, device="cuda": None),
            (torch.cuda, "Event", Event),
            (torch.accelerator, "is_available", lambda: True),
            (Tensor, "_reduce_ex_internal", saved),
        ]


class _Names(TorchFunctionMode):
    """Gives meta tensors the name of the card, and looks at what reads values or asks for pinned memory."""

    def __init__(self, card: Card):
        super().__init__()
        self._card = card

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in ABOUT_DEVICES:
            return func(*args, **kwargs)
        if args and isinstance(args[0], Tensor):
            if func in (GET_DEVICE, GET_IS_CUDA, GET_IS_META):
                return self._told(args[0], func)
            if func is Tensor.pin_memory:
                return _pinned(args[0].clone())
            if func in READS and GET_IS_META(args[0]):
                args = [self._card.read(part, func.__name__) if _is_on_card(part) else part for part in args]
                return func(*args, **kwargs)
        args = tuple(map(_as_meta, args))
        kwargs = {name: _as_meta(value) for name, value in kwargs.items()}
        if kwargs.pop("pin_memory", False):
            return _pinned(func(*args, **kwargs))
        self._look_at_values(func, args, kwargs)
        return func(*self._cast(func, args), **self._cast(func, kwargs))

    def _told(self, tensor: Tensor, getter: Any) -> Any:
        if not GET_IS_META(tensor):
            return getter(tensor)
        return CUDA if getter == GET_DEVICE else getter == GET_IS_CUDA

    def _look_at_values(self, func: Any, args: Any, kwargs: Any) -> None:
        """Numbers of Python's become a tensor of the host, which is copied."""
        is_made = func in MADE_OF_VALUES and kwargs.get("device") == META and not isinstance(args[0], Tensor)
        is_index = func in INDEXING and isinstance(args[1], list) and GET_IS_META(args[0])
        if is_made or is_index:
            self._card.wait(f"{func.__name__} is given values of the host, which are copied")

    def _cast(self, func: Any, arguments: Any) -> Any:
        """Casts as autocast does for what it knows; it does not know meta tensors."""
        if not torch.is_autocast_enabled("cuda") or not (func in IN_HALF or func in IN_FULL):
            return arguments
        dtype = torch.get_autocast_dtype("cuda") if func in IN_HALF else torch.float32
        self._card.precisions.add(dtype)
        return tree_map(lambda part: part.to(dtype) if _is_number(part) else part, arguments)


class _Operators(TorchDispatchMode):
    """Refuses operators that are given tensors of both sides, and looks at copies between these."""

    def __init__(self, card: Card):
        super().__init__()
        self._card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            if func is aten._to_copy.default:
                return self._moved(args[0], **kwargs)
            if func is aten.copy_.default:
                return self._copied(*args, **kwargs)
            if torch.is_inference_mode_enabled():  # there, what is made of several operators comes whole
                with self:
                    found = func.decompose(*args, **kwargs)
                if found is not NotImplemented:
                    return found
            tensors = list(_tensors((args, kwargs)))
            if _are_of_both_sides(tensors, func):
                told = ", ".join(f"{tuple(t.shape)} of the {'card' if t.is_meta else 'host'}" for t in tensors)
                raise WrongDevice(f"{_place()}: {func} is given {told}")
            try:
                return func(*args, **kwargs)
            except NotImplementedError as error:  # torch's word for a shape that follows from values
                self._card.wait(f"{func} gives what depends on values")
                raise AssertionError("a place that is known, and cannot be gone past without values") from error

    def _moved(self, source: Tensor, **kwargs: Any) -> Tensor:
        device = kwargs.get("device") or source.device
        if source.is_meta == (device.type == "meta"):
            return aten._to_copy.default(source, **kwargs)
        if source.is_meta:
            return self._card.read(source, f"{tuple(source.shape)} copied from it").to(kwargs.get("dtype"))
        self._sent(source, kwargs.get("non_blocking", False))
        return aten._to_copy.default(source, **kwargs)

    def _copied(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        if target.is_meta == source.is_meta or (target.is_meta and not source.dim()):
            return aten.copy_.default(target, source, non_blocking)
        if target.is_meta:
            self._sent(source, non_blocking)
            return target
        if not (non_blocking and _is_pinned(target)):
            self._card.wait(f"{tuple(source.shape)} copied from it")
        return target.zero_()

    def _sent(self, source: Tensor, non_blocking: bool) -> None:
        if not (non_blocking and _is_pinned(source)):
            how = "from memory that is not pinned" if non_blocking else "blocking"
            self._card.wait(f"{tuple(source.shape)} copied to it, {how}")


def _place() -> str:
    """The innermost function of the product or of Lightning that runs, as `module.function`; how tensors of a batch are
    moved one by one is left out."""
    frame = sys._getframe(1)
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        is_general = "utilities" in module or module == "towers.batch" or module.endswith("mixin")
        if module.split(".")[0] in PACKAGES and not is_general and not function.startswith("<"):
            return f"{module}.{function}"
        frame = frame.f_back
    return "elsewhere"


def _tensors(part: Any) -> Iterator[Tensor]:
    """All in an operator's arguments."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, (list, tuple)):
        for each in part:
            yield from _tensors(each)
    elif isinstance(part, dict):
        yield from _tensors(list(part.values()))


def _are_of_both_sides(tensors: list[Tensor], func: Any) -> bool:
    """A number may stand on the host, where it is read alone: it goes along with the call."""
    if not any(part.is_meta for part in tensors) or all(part.is_meta for part in tensors):
        return False
    is_written = func._schema.is_mutable and not tensors[0].is_meta
    return is_written or any(part.dim() and not part.is_meta for part in tensors)


def _pinned(tensor: Tensor) -> Tensor:
    # Only CUDA can pin memory: here the tensor itself remembers that it was asked to.
    tensor._is_pinned_here = True  # type: ignore[attr-defined]
    return tensor


def _is_pinned(tensor: Tensor) -> bool:
    return hasattr(tensor, "_is_pinned_here")


def _is_on_card(part: Any) -> bool:
    return isinstance(part, Tensor) and GET_IS_META(part)


def _is_number(part: Any) -> bool:
    return _is_on_card(part) and part.dtype in (torch.float32, torch.bfloat16, torch.float16)


def _as_meta(part: Any) -> Any:
    """The meta device for the card."""
    is_device = isinstance(part, torch.device) or (isinstance(part, str) and part.split(":")[0] == "cuda")
    return META if is_device and torch.device(part).type == "cuda" else part
