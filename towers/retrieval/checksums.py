"""Checksums of an export's files, compared with its manifest."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from towers.errors import UserError
from towers.manifest import digest_of_file, read_json
from towers.retrieval.files import MANIFEST, MANIFEST_DIGEST, reading

THREADS = 4
"""Number of threads that hash files concurrently; hashing releases Python's global lock."""


def digests_of_files(folder: Path, names: list[str]) -> dict[str, str]:
    """Returns the SHA-256 digests, in hex, of files below a folder, by name."""
    if len(names) == 1:  # not worth starting threads
        return {names[0]: digest_of_file(folder / names[0])}
    with ThreadPoolExecutor(THREADS) as threads:
        digests = threads.map(lambda name: digest_of_file(folder / name), names)
        return dict(zip(names, digests, strict=True))


def digest_line(folder: Path) -> str:
    """Returns the content of `manifest.json.sha256`, in the format of `sha256sum`."""
    return f"{digest_of_file(folder / MANIFEST)}  {MANIFEST}\n"


def read_manifest(folder: Path, newest: int) -> dict[str, Any]:
    """Reads the manifest of the export in `folder`.

    Args:
        folder: folder of the export.
        newest: newest format that can be read.

    Raises:
        UserError: the folder has no export, the manifest was changed, or the format is newer.
    """
    if not (folder / MANIFEST).exists():
        raise UserError(f"{folder}: no export here; run `towers export` first, or give export=FOLDER")
    with reading(folder / MANIFEST_DIGEST) as path:
        expected = path.read_bytes()
    if digest_line(folder).encode() != expected:
        raise UserError(f"{folder / MANIFEST}: does not match {MANIFEST_DIGEST}; the export was damaged: copy it again")
    manifest = read_json(folder / MANIFEST)
    if manifest["format"] > newest:
        raise UserError(
            f"{folder}: format {manifest['format']} is newer than this Towers reads ({newest}); update Towers here"
        )
    return manifest


def damaged_files(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Yields a line for each file that is missing, changed, or not named in the manifest."""
    expected: dict[str, str] = manifest.get("files", {})
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    digests = digests_of_files(folder, [name for name in expected if name in present])
    for name, digest in expected.items():
        if name not in present:
            yield f"{name}: missing"
        elif digests[name] != digest:
            yield f"{name}: its checksum is not the manifest's"
    if expected:
        for name in sorted(present - set(expected) - {MANIFEST, MANIFEST_DIGEST}):
            yield f"{name}: not in the manifest"
