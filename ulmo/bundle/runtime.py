"""ONNX Runtime, imported so that it keeps what it sees to itself.

Since 1.32 it writes events and an id of the machine into the user's cache, to be sent to its
maker. The environment is where that is turned off, and only before the import.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
