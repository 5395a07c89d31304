"""Settings, a reporter and readers that the tests of ulmo-train share."""

import csv
import os
import signal

from matplotlib.figure import Figure

from ulmo.pictures.axes import to_png

MODEL = {
    "encoder_layers": 1,
    "decoder_layers": 1,
    "embedding_dim": 4,
    "codebook_size": 16,
    "width": 8,
    "frequency_stride": 8,
    "time_stride": 4,
}
SETTINGS = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "seed": 1}
BUNDLE = ("tokenizer.json", "model.safetensors", "encoder.onnx", "substitution.safetensors")
PIXEL = to_png(Figure(figsize=(0.01, 0.01)))


class Silent:
    """A reporter that keeps what it is told, and may be asked to interrupt."""

    def __init__(self, interrupt_at=None):
        self.steps = 0
        self.rows = []
        self._interrupt_at = interrupt_at

    def note(self, text):
        pass

    def warn(self, text):
        pass

    def begin(self, steps, done):
        self.steps = done

    def batch(self, losses):
        self.steps += 1
        if self.steps == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, row):
        self.rows.append(row)


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
