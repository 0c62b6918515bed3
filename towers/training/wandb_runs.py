"""Runs of Weights & Biases, opened online or offline as key, network and `WANDB_MODE` allow. Needs no torch."""

import io
import netrc
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from towers.errors import UserError
from towers.secrets import masked

WANDB_URL = "https://api.wandb.ai"
WANDB_ADVICE = "WANDB_MODE=offline keeps the run on disk, logger=csv leaves Weights & Biases out"
REACHED_WITHIN_S = 5.0
KEY = re.compile(r"\w{40,}|[^-]*-[\w-]{40,}|[\w-]+\.[\w-]+\.[\w-]+")
"""Form of a valid key: a secret, with a prefix for one's own server; or a JSON web token."""
FOLDER: Final = "wandb"
"""Name that wandb gives the folder of its runs, below the one that it is given."""


def opened(
    folder: Path,
    name: str,
    project: str,
    group: str | None = None,
    job_type: str | None = None,
    settings: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Any:
    """Opens or resumes a run, offline where there is no key or no network.

    What wandb records by itself is limited to what can hold no secret: the command line without secrets, no git remote,
    which may contain a token, and no list of packages.

    Args:
        folder: folder below which its files are kept.
        name: name of the run; a run of the same name is resumed.
        project: project on the server.
        group: group of runs that belong together; null: none.
        job_type: role of the run in its group; null: none.
        settings: further settings of wandb, by name.
        mode: mode of wandb; null: the result of `wandb_mode`.

    Returns:
        A `wandb.Run`; the caller has to call `finish`.

    Raises:
        UserError: the key, or a setting in the environment, is not valid.
    """
    from wandb.errors import AuthenticationError, CommError, UsageError  # imported here, as it is optional

    os.environ.setdefault("WANDB_SILENT", "true")
    facts = {"project": project, "name": name, "group": group, "job_type": job_type, "settings": settings or {}}
    mode = mode or wandb_mode()
    try:
        return _begun(folder, mode, **facts)
    except AuthenticationError as error:
        raise UserError(f"WANDB_API_KEY: {_one_line(error)}; {WANDB_ADVICE}") from error
    except CommError as error:
        tell(f"{_one_line(error)}; goes on offline")
        return _begun(folder, "offline", **facts)
    except (UsageError, ValueError) as error:  # ValueError: pydantic's, about a WANDB_ variable
        raise UserError(f"logger=wandb: {_one_line(error)}; {WANDB_ADVICE}") from error


def _begun(folder: Path, mode: str, *, settings: Mapping[str, Any], **facts: Any) -> Any:
    import wandb

    ours = {"init_timeout": 30, "disable_git": True, "disable_code": True, "x_save_requirements": False}
    with _shown_arguments():
        return wandb.init(
            **facts,
            id=id_of(facts["name"]),
            dir=folder,
            mode=mode,  # type: ignore[arg-type]  # any value of WANDB_MODE
            resume="allow",
            settings=wandb.Settings(**{**ours, **settings}),
        )


def id_of(name: str) -> str:
    """Returns the wandb id of a run's name.

    >>> id_of("demo/0123")
    'demo-0123'
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


@contextmanager
def _shown_arguments() -> Iterator[None]:
    """Spans a block in which `sys.argv` shows no secret, as wandb saves it with the run."""
    given = sys.argv
    sys.argv = [masked(each) for each in given]
    try:
        yield
    finally:
        sys.argv = given


@contextmanager
def kept_below(folder: Path) -> Iterator[None]:
    """Spans a block in which wandb keeps its cache, and copies of artifacts' files before their upload, below a folder,
    regardless of the environment: deleting a run, or a listener from it, has to find them.

    Args:
        folder: folder of both.
    """
    places = {"WANDB_DATA_DIR": folder, "WANDB_CACHE_DIR": folder / "cache"}
    before = {name: os.environ.get(name) for name in places}
    os.environ.update({name: str(place.resolve()) for name, place in places.items()})
    try:
        yield
    finally:
        for name, given in before.items():
            if given is None:
                del os.environ[name]
            else:
                os.environ[name] = given


def log_images(folder: Path, name: str, place: Mapping[str, Any], images: Mapping[str, bytes]) -> None:
    """Adds pictures of an evaluation to the Weights & Biases run of a training, offline if that was.

    Args:
        folder: folder of the run.
        name: name of the run, as given by training.
        place: project, and group and job type if it has them, as given by training: without them an upload of these
            pictures alone would take the run out of its group.
        images: PNG files by name.

    Raises:
        UserError: the key is not valid.
    """
    import wandb  # imported here, since it is slow and optional
    from PIL import Image

    with by_step(opened(folder, name, **place)) as run:
        run.log({f"evaluation/{key}": wandb.Image(Image.open(io.BytesIO(image))) for key, image in images.items()})


def log_table(folder: Path, name: str, project: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes a table as a Weights & Biases run of its own, in the group of the folder's name, offline like the others.

    Args:
        folder: folder in which the run is kept.
        name: name of the run; another table under the same name replaces it.
        project: project on the server.
        columns: columns by name, all of one length.

    Raises:
        UserError: the key is not valid.
    """
    import wandb

    rows: list[Any] = [list(row) for row in zip(*columns.values(), strict=True)]
    with kept_below(folder / FOLDER), opened(folder, name, project, folder.name) as run:
        run.log({"runs": wandb.Table(columns=list(columns), data=rows)})


def wandb_mode() -> str:
    """Returns WANDB_MODE if set; otherwise online where there is a key and the server answers, and offline elsewhere.

    Raises:
        UserError: the key is not valid.
    """
    given = os.environ.get("WANDB_MODE")
    if given:
        return given
    key = os.environ.get("WANDB_API_KEY")
    if key:
        _check(key)
    if not _has_key():
        return "offline"
    url = os.environ.get("WANDB_BASE_URL", WANDB_URL)
    if _answers(url):
        return "online"
    tell(f"{url} does not answer; goes on offline, and `wandb sync` uploads it later")
    return "offline"


def where_kept(run: Any, folder: Path, instead: str) -> str:
    """Returns whether a run is online, offline or off, where its files are, and how they reach the server.

    Args:
        run: opened run.
        folder: folder that it was opened below.
        instead: file with the figures if it is off.
    """
    if run.disabled:
        return f"off, as WANDB_MODE says; the figures are in {instead} alone"
    files = folder / FOLDER / Path(run.settings.sync_dir).name
    if not run.offline:
        return f"online, {run.url}; files in {files}"
    why = ", as WANDB_MODE says" if os.environ.get("WANDB_MODE") else "" if _has_key() else ", as there is no key"
    return f"offline{why}; files in {files}; `wandb sync {files}` uploads them"


def by_step(run: Any) -> Any:
    """Makes Lightning's step the x-axis of all figures of a training's run; returns the run."""
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def tell(line: str) -> None:
    """Prints a line about Weights & Biases on stderr, with secrets masked."""
    print(f"wandb: {masked(line)}", file=sys.stderr, flush=True)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _has_key() -> bool:
    return bool(os.environ.get("WANDB_API_KEY")) or _is_in_netrc(os.environ.get("WANDB_BASE_URL", WANDB_URL))


def _check(key: str) -> None:
    """Checks the form of a key as wandb does, which would fail with a traceback."""
    if not KEY.fullmatch(key):
        raise UserError(f"WANDB_API_KEY: too short, or characters that no key has; {WANDB_ADVICE}")


def _answers(url: str) -> bool:
    """Returns whether the server answers within some seconds; a thread, as name look-up may exceed any timeout."""
    found: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=REACHED_WITHIN_S).close()
            found.append(True)
        except urllib.error.HTTPError:  # also an answer
            found.append(True)
        except (OSError, ValueError):
            found.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACHED_WITHIN_S)
    return found == [True]


def _is_in_netrc(url: str) -> bool:
    try:
        return netrc.netrc().authenticators(urlsplit(url).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
