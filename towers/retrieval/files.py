"""Files of an export that are missing or damaged are the caller's to mend: one line, with the path."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towers.errors import UserError


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Yields `path`; what numpy, pyarrow and FAISS raise for an unreadable file becomes a `UserError` that names it."""
    try:
        yield path
    except FileNotFoundError:
        raise UserError(f"{path}: missing; make or copy the export again") from None
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); make or copy the export again") from error
