"""Opens an exported tower in ONNX Runtime; what cannot be read or belongs elsewhere is refused in one line."""

from pathlib import Path

import onnxruntime

from towers.errors import UserError


def open_tower(path: Path, space_id: str, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU.

    Args:
        path: of the file.
        space_id: of the export.
        threads: that one call may use.

    Raises:
        UserError: the tower belongs to another space or cannot be read, or fewer than one thread.
    """
    if threads < 1:
        raise UserError(f"threads={threads}: must be at least 1")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise UserError(f"{path}: cannot be read ({error}); make the export again, or copy it again whole") from error
    found = session.get_modelmeta().custom_metadata_map.get("space_id")
    if found != space_id:
        raise UserError(f"{path}: space_id {found} is not the export's {space_id}; vectors must not be mixed")
    return session
