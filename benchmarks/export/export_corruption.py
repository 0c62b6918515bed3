"""Is every single-byte corruption of an export found?

    python benchmarks/export/export_corruption.py tests/golden/format-2/export

Every byte of every file is changed (one bit of it), one at a time, and what `towers verify` asks first is
asked: the manifest must not open, any other file must be named. Each file is asked about by itself, so that a changed
byte costs the reading of its file and not of all.
"""

import shutil
import tempfile
from pathlib import Path

from rich.progress import track

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.errors import UserError
from towers.manifest import read_json
from towers.retrieval.checksums import damaged_files, read_manifest
from towers.retrieval.export_files import FORMAT
from towers.retrieval.files import MANIFEST, MANIFEST_DIGEST

CHANGES = (0x01,)


def is_found(folder: Path, name: str, digest: str | None) -> bool:
    """Returns whether the export in `folder` is refused, when this file or the manifest alone is checked."""
    if digest is not None:
        return bool(list(damaged_files(folder, {"files": {name: digest}})))
    try:
        read_manifest(folder, FORMAT)
    except UserError:
        return True
    return False


def missed(export: Path, name: str, digest: str | None, every: int) -> tuple[int, int]:
    """Changes made, and those that were not found."""
    names = [name] if digest is not None else [MANIFEST, MANIFEST_DIGEST]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for each in names:
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(export / each, folder / each)
        assert not is_found(folder, name, digest)
        whole = bytearray((folder / name).read_bytes())
        places, lost = range(0, len(whole), every), 0
        with (folder / name).open("r+b", buffering=0) as file:
            for place in track(places, name):
                for change in CHANGES:
                    file.seek(place)
                    file.write(bytes([whole[place] ^ change]))
                    lost += not is_found(folder, name, digest)
                file.seek(place)
                file.write(whole[place : place + 1])
    return len(places) * len(CHANGES), lost


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("--every", type=int, default=1, help="of so many bytes one is changed")
    add_smallest(parser, every=211)
    arguments = parser.parse_args()
    export = arguments.export
    files = read_json(export / MANIFEST)["files"]
    asked = [*files.items(), (MANIFEST, None), (MANIFEST_DIGEST, None)]
    counts = [missed(export, name, digest, arguments.every) for name, digest in asked]
    changes, lost = (sum(column) for column in zip(*counts, strict=True))
    print(f"{changes:,} changes of one byte in {len(counts)} files, {lost} not found")
    write_result(arguments, "export_corruption", {"changes": changes, "files": len(counts), "not_found": lost})


if __name__ == "__main__":
    main()
