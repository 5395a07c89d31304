"""A graph on ONNX Runtime."""

import os
from typing import Any, Literal

from ulmo.bundle.runtime import onnxruntime
from ulmo.config import UserError

Device = Literal["cpu", "cuda"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
DATA_FOLDER = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's option for the folder of the files that a model names; ours name none."""


def open_session(model: bytes, *, device: Device = "cpu") -> Any:
    """An inference session that computes in the thread that calls it, and in no other.

    Several may call it at once: windows are what is shared out among threads, not sums. On `cuda`
    TF32 is off, since it would decide for other codes; still its sums are not the CPU's, and near
    ties it may tell them otherwise. UserError where this ONNX Runtime lacks the device, or cannot
    load the graph.
    """
    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise UserError(
            f"this ONNX Runtime has no {device}: set device to cpu, or install onnxruntime-gpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(DATA_FOLDER, os.devnull)
    chosen = (provider, {"use_tf32": "0"}) if device == "cuda" else provider
    try:
        return onnxruntime.InferenceSession(model, options, providers=[chosen])
    except Exception as error:  # each of onnxruntime's is a plain Exception
        raise UserError(f"the bundle's ONNX model does not load: {error}") from None
