"""The objects of a store below a folder, by one listing."""

from collections.abc import Iterable, Mapping
from typing import Any

from towers.data.sources.remote import RemotePath, StoreError
from towers.errors import Unreachable, UserError

VERSIONS = ("generation", "ETag", "etag", "LastModified", "last_modified")
"""Fields that tell an object's versions apart, the surest first: of Google Cloud, of S3, of Azure."""


def objects_below(folder: RemotePath, max_depth: int | None = None) -> dict[str, RemotePath]:
    """Returns all objects below a folder by their paths in it; none where there is no such folder.

    Empty objects that stand for a folder are left out.

    Args:
        folder: folder to look in.
        max_depth: 1 for those directly in it; null for any depth.

    Raises:
        UserError: the store refuses, or does not answer; or a key that is no path.
    """
    with folder.reaching():
        found = folder.filesystem.find(folder.own, maxdepth=max_depth, detail=True)
    objects = {}
    for own, info in found.items():
        name = str(own)[len(folder.own) + 1 :]
        if not name or info["type"] != "file" or name.endswith("/") or (not info["size"] and "." not in name):
            continue
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise UserError(f"{folder.url}/{name}: a key with an empty part, `.` or `..` is no path; rename it")
        objects[name] = RemotePath(
            f"{folder.url}/{name}", folder.filesystem, str(own), info["size"], _version(folder, info)
        )
    return objects


def refuse_changes(folder: RemotePath, objects: Iterable[RemotePath]) -> None:
    """Refuses objects whose version has changed since they were listed, as their bytes may have been read of both.

    Objects that have been deleted since then pass: they were read as a whole, or their reads failed.

    Args:
        folder: folder with all of the objects; it is listed once.
        objects: the objects as they were listed before.

    Raises:
        Unreachable: an object was written again; or as `objects_below`.
    """
    now = {path.url: path.version for path in objects_below(folder).values()}
    for path in objects:
        if now.get(path.url, path.version) != path.version:
            raise Unreachable(f"{path}: was written again while it was read; run this again when its writer is done")


def entries_of(folder: RemotePath) -> dict[str, bool]:
    """Returns the names directly in a folder, and whether each is a folder.

    Raises:
        UserError: there is no such bucket or folder, or the store refuses or does not answer.
    """
    try:
        with folder.reaching():
            found = folder.filesystem.ls(folder.own, detail=True)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UserError(
                f"data.root={folder}: no such bucket, or nothing in such a folder; give the data set's as data.root=URL"
            ) from error
        raise
    names = {str(info["name"]).rstrip("/").rpartition("/")[2]: info["type"] == "directory" for info in found}
    return {name: is_folder for name, is_folder in names.items() if name}


def _version(folder: RemotePath, info: Mapping[str, Any]) -> str:
    known = next((name for name in VERSIONS if info.get(name)), None)
    if known is None:
        raise UserError(f"{folder.url}: the store tells nothing by which versions of an object differ (an ETag)")
    return f"{known} {str(info[known]).strip(chr(34))}, {info['size']} bytes"
