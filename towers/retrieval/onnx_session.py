"""Opens an exported tower in ONNX Runtime."""

from pathlib import Path

import onnxruntime

from towers.errors import UserError


def open_tower(path: Path, space_id: str, threads: int) -> onnxruntime.InferenceSession:
    """Opens a tower in a session on the CPU.

    Args:
        path: path of the tower's ONNX file.
        space_id: space_id of the export.
        threads: number of threads that one call may use.

    Raises:
        UserError: the tower belongs to another space or cannot be read, or `threads` is below 1.
    """
    if threads < 1:
        raise UserError(f"threads={threads}: must be at least 1")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # errors of ONNX Runtime have no common class
        raise UserError(f"{path}: cannot be read ({error}); make the export again, or copy all of it again") from error
    found = session.get_modelmeta().custom_metadata_map.get("space_id")
    if found != space_id:
        raise UserError(f"{path}: space_id {found} is not the export's {space_id}; vectors must not be mixed")
    return session
