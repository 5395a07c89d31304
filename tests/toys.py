"""A toy of each kind that a table holds: what somebody adds, one class each."""

import keras
import numpy as np
from keras import ops

from ulmo.config import FormatTraits, ObjectiveTraits, QuantizerTraits
from ulmo.formats.base import Format
from ulmo.formats.events import EventFormat
from ulmo.models.gradients import straight_through
from ulmo.models.objectives.base import Objective, TaskResult
from ulmo.models.quantizers.base import Quantizer, nearest
from ulmo.preprocessing.frontends.base import Block, FrontEnd


class ToyFrontEnd(FrontEnd):
    words = "the power of a hop, less in higher bins"
    settings = ("fmax",)
    frame_by_frame = True
    block_frames = 8
    left = 0

    def __init__(self, settings):
        self.hop_length = self.right = settings.hop_length
        highest = settings.fmax or settings.sample_rate / 2
        self.frequencies = np.linspace(1, highest, settings.tile_size)

    @classmethod
    def cost(cls, settings):
        samples = cls.block_frames * settings.hop_length
        cells = cls.block_frames * settings.tile_size
        return Block(cls.block_frames, samples, 8 * cells, cells, kept=0, begin=0).cost(settings)

    def power(self, segment):
        power = 2 * np.square(segment.reshape(self.block_frames, -1)).mean(axis=1)
        return np.outer(1 / self.frequencies, power).astype(np.float32)


class ToyQuantizer(Quantizer):
    traits = QuantizerTraits("random codes", ("commitment_cost",))

    def build(self, latents_shape):
        shape = (self.codebook_size, self.embedding_dim)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=0)
        self._codebook = self.add_weight(
            name="codebook", shape=shape, initializer=normal, trainable=False
        )

    def call(self, latents, weights=None, training=False):
        ids = nearest(latents, self.codebook)
        codes = ops.stop_gradient(self.embed(ids))
        passed = straight_through(latents, codes)
        return self.result(latents, ids, codes, passed=passed, weights=weights)


class ToyObjective(Objective):
    traits = ObjectiveTraits("draws latents to 1")
    draws = False

    def measure(self, encoded):
        errors = ops.mean(ops.abs(encoded.latents - 1.0), axis=-1) * encoded.weights
        loss = ops.divide_no_nan(ops.sum(errors), ops.sum(encoded.weights))
        return TaskResult(loss=loss, score=-loss, chance=ops.zeros(()))


class ToyFormat(Format):
    traits = FormatTraits("four hexadecimal digits an id")
    suffixes = (".tokens.hex",)
    many = False

    def _write(self, ids):
        self._files[0].write(ids.astype(">u2").tobytes().hex().encode())

    @staticmethod
    def read(path, headers):
        ids = np.frombuffer(bytes.fromhex(path.read_text()), ">u2").astype(np.int32)
        yield ids.reshape(-1, headers[0].bands)


class ToyEventFormat(EventFormat):
    words = "the begin of each event, a line each"
    ending = ".begins"

    @classmethod
    def begins(cls, columns):
        return b"toy\n"

    def add(self, row, place):
        self._file.write(f"{row['start_s']:.2f}\n".encode())
