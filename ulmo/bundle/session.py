"""ONNX Runtime sessions.

Since 1.32 ONNX Runtime writes events and an id of the machine into the user's cache and sends them
to its maker. Only an environment variable that is set before the import prevents this.
"""

import os
from functools import partial
from typing import Any, Literal

from ulmo.bundle.per_process import PerProcess
from ulmo.config import UserError
from ulmo.config.arguments import one_of

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

Device = Literal["cpu", "cuda"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# ONNX Runtime's option for the folder of external data; our models have none.
_DATA_FOLDER = "session.model_external_initializers_file_folder_path"


class Session:
    """An inference session that computes in the thread that calls it.

    Several threads may call it at once: they share windows, not sums. On `cuda`, TF32 is off,
    because it would choose other codes. Even so, sums differ from the CPU's, and so may ids where
    two codes are equally near. UserError if this ONNX Runtime lacks the device or cannot load the
    model. A forked process opens the model again, which CUDA does not allow: UserError.
    """

    def __init__(self, model: bytes, *, device: Device = "cpu") -> None:
        one_of("device", device, _PROVIDERS)
        self._opened = PerProcess(partial(_open, model, device, os.getpid()))
        self._opened.get()

    def run(self, outputs: list[str], inputs: dict[str, Any]) -> list[Any]:
        """The values of some outputs, by the names of the inputs."""
        values: list[Any] = self._opened.get().run(outputs, inputs)
        return values


def _open(model: bytes, device: Device, process: int) -> Any:
    if device == "cuda" and process != os.getpid():
        raise UserError("CUDA does not work in a forked process: start processes with spawn")
    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise UserError(
            f"ONNX Runtime has no {device} here: set device to cpu, or install onnxruntime-gpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(_DATA_FOLDER, os.devnull)
    chosen = (provider, {"use_tf32": "0"}) if device == "cuda" else provider
    try:
        return onnxruntime.InferenceSession(model, options, providers=[chosen])
    except Exception as error:  # ONNX Runtime's errors have no other common base
        raise UserError(f"the bundle's ONNX model does not load: {error}") from None
