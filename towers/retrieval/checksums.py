"""Whether the files of an export are those that its manifest names."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from towers.errors import UserError
from towers.manifest import digest_of_file, read_json
from towers.retrieval.files import MANIFEST, MANIFEST_DIGEST, reading

THREADS = 4
"""That read files at once; hashing lets go of Python's lock."""


def digests_of_files(folder: Path, names: list[str]) -> dict[str, str]:
    """Sha256 in hex of files below a folder, by name."""
    if len(names) == 1:  # threads would take longer to start than a file to read
        return {names[0]: digest_of_file(folder / names[0])}
    with ThreadPoolExecutor(THREADS) as threads:
        digests = threads.map(lambda name: digest_of_file(folder / name), names)
        return dict(zip(names, digests, strict=True))


def digest_line(folder: Path) -> str:
    """What stands in `manifest.json.sha256`, as `sha256sum` writes and checks it."""
    return f"{digest_of_file(folder / MANIFEST)}  {MANIFEST}\n"


def read_manifest(folder: Path, newest: int) -> dict[str, Any]:
    """The manifest of the export in `folder`.

    Args:
        folder: of the export.
        newest: format that can be read.

    Raises:
        UserError: no export there, a manifest that was changed, or a newer format.
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
            f"{folder}: format {manifest['format']} is newer than this Towers reads ({newest}); "
            "bring Towers up to date here"
        )
    return manifest


def damaged_files(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """What is missing, changed, or there without being named by the manifest; one line each."""
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
