"""ONNX Runtime, imported with its telemetry turned off.

Since 1.32 it writes events and an id of the machine into the user's cache and sends them to its
maker. Only an environment variable set before the import prevents this.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
