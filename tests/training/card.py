"""A card that is not there: torch's `meta` device under the name `cuda:0`, which tells who makes the host wait for it.

Code that runs under `Card` sees a CUDA device: `tensor.device` is `cuda:0`, what is made on `cuda` is a meta tensor, and
streams, pinned memory and autocast to bfloat16 behave as on a card, so it takes the path that it takes there. Meta
tensors have shapes and types alone, so steps of any size cost the calls alone. What stays on the host is computed.

Two things fail that a processor forgives: an operator that is given tensors of both sides, and a place that waits for the
card or reads from it, unless it is one of those that are known. What torch's own kernels wait for within a call is not
seen: `tests/training/test_gpu.py` shows that on a real card.
"""

import sys
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA, META = torch.device("cuda", 0), torch.device("meta")
ROOT = Path(__file__).parents[2]
GET_DEVICE, GET_IS_CUDA, GET_IS_META = (
    getattr(torch.Tensor, name).__get__ for name in ("device", "is_cuda", "is_meta")
)
READS = (Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__bool__, Tensor.__float__, Tensor.__int__,
         Tensor.__index__, Tensor.equal, torch.equal, Tensor.allclose, torch.allclose, Tensor.is_nonzero)  # fmt: skip
"""What gives Python a value."""
IN_HALF = (torch.nn.functional.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, torch.bmm,
           torch.addmm, torch.einsum, torch.conv1d, torch.conv2d,
           torch.nn.functional.scaled_dot_product_attention)  # fmt: skip
IN_FULL = (torch.nn.functional.layer_norm, torch.nn.functional.group_norm, torch.nn.functional.softplus,
           torch.layer_norm, torch.group_norm, torch.exp, Tensor.exp, torch.log, Tensor.log,
           Tensor.norm, torch.norm, torch.nn.functional.cosine_similarity)  # fmt: skip
"""Of autocast's lists for CUDA, what the towers call."""
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class WrongDevice(AssertionError):
    """An operator was given tensors of both sides."""


class HostWaits(AssertionError):
    """The host would wait for the card where nobody has said so."""


class Card:
    """Within the block there is a card, `cuda:0`.

    Args:
        known: places that may make the host wait, as `module.function`, such as `towers.training.optimizing.rest`.

    Attributes:
        waits: how often each place has made the host wait.
        half: types of the tensors that attention and linear layers were given under autocast.
    """

    def __init__(self, known: Collection[str] = ()):
        self.waits: Counter[str] = Counter()
        self.dtypes: set[torch.dtype] = set()
        self._known = set(known)
        self._stack = ExitStack()

    def __enter__(self) -> "Card":
        enter = self._stack.enter_context
        for owner, name, value in self._stand_ins():
            enter(mock.patch.object(owner, name, value))
        enter(_Devices(self))
        enter(_Names(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def wait(self, what: str) -> None:
        """Takes note that the host waits here.

        Raises:
            HostWaits: this place is none of those that are known.
        """
        place = _place()
        if place not in self._known:
            raise HostWaits(f"{place} makes the host wait for the card ({what})")
        self.waits[place] += 1

    def read(self, tensor: Tensor, what: str) -> Tensor:
        """A tensor of the card on the host: zeros, as there are no values."""
        self.wait(what)
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    def _stand_ins(self) -> list[tuple[Any, str, Any]]:
        """What of torch asks the driver, or the storage of a tensor."""
        card, reduce = self, Tensor._reduce_ex_internal

        class Event:
            def record(self) -> None:
                pass

            def synchronize(self) -> None:
                card.wait("an event")

        def saved(tensor: Tensor, protocol: int) -> Any:
            return reduce(card.read(tensor, "saved") if tensor.is_cuda else tensor, protocol)

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
            (torch.cuda, "Event", Event),
            (torch.accelerator, "is_available", lambda: True),
            (Tensor, "_reduce_ex_internal", saved),
        ]


class _Names(TorchFunctionMode):
    """Meta tensors bear the name of the card; what reads values of them, or makes them, is looked at."""

    def __init__(self, card: Card):
        super().__init__()
        self._card = card

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.device:
            return func(*args, **kwargs)
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if first is not None:
            is_on_card = GET_IS_META(first)
            if func == GET_DEVICE:
                return CUDA if is_on_card else GET_DEVICE(first)
            if func in (GET_IS_CUDA, GET_IS_META):
                return is_on_card and func == GET_IS_CUDA
            if func is Tensor.pin_memory:
                return _pinned(first.clone())
            if func is Tensor.is_pinned:
                return hasattr(first, "_is_pinned")
            if is_on_card and func in READS:
                args = tree_map(lambda part: self._card.read(part, func.__name__) if _is_card(part) else part, args)
                return func(*args, **kwargs)
        args, kwargs = tree_map(_as_meta, (tuple(args), kwargs))
        if kwargs.pop("pin_memory", False):
            return _pinned(func(*args, **kwargs))
        if torch.is_autocast_enabled("cuda") and func in IN_HALF + IN_FULL:
            to = torch.get_autocast_dtype("cuda") if func in IN_HALF else torch.float32
            self._card.dtypes.add(to)
            args, kwargs = tree_map(lambda part: part.to(to) if _is_card_float(part) else part, (args, kwargs))
        return func(*args, **kwargs)


class _Devices(TorchDispatchMode):
    """No operator is given tensors of both sides, and copies between them do not wait."""

    def __init__(self, card: Card):
        super().__init__()
        self._card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            if func in COPIES:
                return self._copied(func, args, kwargs)
            if torch.is_inference_mode_enabled():  # what is made of several operators comes whole there
                with self:
                    found = func.decompose(*args, **kwargs)
                if found is not NotImplemented:
                    return found
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            # A number is allowed to stand on the host: it goes along with the call.
            if any(tensor.is_meta for tensor in tensors) and any(not t.is_meta and t.dim() for t in tensors):
                shapes = ", ".join(f"{tuple(t.shape)} on {'the card' if t.is_meta else 'the host'}" for t in tensors)
                raise WrongDevice(f"{_place()}: {func} is given {shapes}")
            return func(*args, **kwargs)

    def _copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is COPIES[0]:
            source, to = args[0], kwargs.get("device") or args[0].device
            is_to_card, is_async = torch.device(to).type == "meta", kwargs.get("non_blocking", False)
        else:
            target, source = args[:2]
            is_to_card, is_async = target.is_meta, args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        if source.is_meta == is_to_card or (func is COPIES[1] and is_to_card and not source.dim()):
            return func(*args, **kwargs)
        if is_to_card:
            if not (is_async and hasattr(source, "_is_pinned")):
                self._card.wait(f"{tuple(source.shape)} copied to it, {'not pinned' if is_async else 'blocking'}")
            return func(*args, **kwargs)
        if func is COPIES[0]:
            return self._card.read(source, f"{tuple(source.shape)} copied from it").to(kwargs.get("dtype"))
        if not (is_async and hasattr(args[0], "_is_pinned")):
            self._card.wait(f"{tuple(source.shape)} copied from it")
        return args[0].zero_()


def _place() -> str:
    """The innermost function of this repository's that is running, as `module.function`."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != __name__ and (name.startswith("towers.") or name.startswith("tests.")):
            return f"{name}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


def _pinned(tensor: Tensor) -> Tensor:
    tensor._is_pinned = True  # type: ignore[attr-defined]
    return tensor


def _is_card(part: Any) -> bool:
    return isinstance(part, Tensor) and GET_IS_META(part)


def _is_card_float(part: Any) -> bool:
    return _is_card(part) and part.dtype in (torch.float32, torch.bfloat16, torch.float16)


def _as_meta(part: Any) -> Any:
    """A device of the card's as the meta device."""
    is_named = isinstance(part, torch.device) or (isinstance(part, str) and part.split(":")[0] == "cuda")
    return META if is_named and torch.device(part).type == "cuda" else part
