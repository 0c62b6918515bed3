"""Costly fixtures, made once for the same code by the first process or call of pytest that asks."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[1]
SOURCES = ("towers", "configs")
"""Folders of which every byte may change the content."""


def copy_once_made(target: Path, cache: Path, name: str, recipe: Iterable[str], make: Callable[[Path], None]) -> None:
    """Copies to `target` the folder that `make` fills, which happens once for the same code and recipe.

    A process that finds another one at work waits for it. A killed one leaves no folder that could be taken for
    complete: the folder gets its name last. Folders of earlier code are deleted.

    Args:
        target: folder, which does not exist yet.
        cache: folder for what is kept between runs.
        name: name of the folder's content, such as `demo`.
        recipe: all that decides the content, beside the code.
        make: function that fills the folder that it gets.
    """
    whole = cache / f"{name}-{digest_of_sources(recipe)}"
    with FileLock(cache / f"{name}.lock"):
        if not whole.exists():
            for left in cache.glob(f"{name}-*"):
                shutil.rmtree(left)
            begun = Path(tempfile.mkdtemp(prefix=f"{name}-begun-", dir=cache))
            make(begun)
            begun.rename(whole)
        shutil.copytree(whole, target, symlinks=True)


def folder_of_this_code(cache: Path, name: str, recipe: Iterable[str]) -> Path:
    """Returns a folder that is the same for the same code and recipe, to be filled piece by piece; deletes those of
    earlier code.

    Args:
        cache: folder for what is kept between runs.
        name: name of the folder's content.
        recipe: all that decides the content, beside the code.
    """
    folder = cache / f"{name}-{digest_of_sources(recipe)}"
    with FileLock(cache / f"{name}.lock"):
        for left in cache.glob(f"{name}-*"):
            if left != folder:
                shutil.rmtree(left)
        folder.mkdir(exist_ok=True)
    return folder


def digest_of_sources(recipe: Iterable[str]) -> str:
    """Returns the digest of the code, the configuration and the recipe."""
    digest = hashlib.sha256("\0".join(recipe).encode())
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(b"\0".join([str(path.relative_to(ROOT)).encode(), path.read_bytes()]))
    return digest.hexdigest()[:16]
