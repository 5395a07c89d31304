"""The VQ-VAE: encoder, quantizer and decoder, its losses, and its weights by name."""

from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from ulmo.config import AUTOENCODED, ModelSettings, stage_names
from ulmo.models.decoder import Decoder
from ulmo.models.devices import Devices
from ulmo.models.encoder import Encoder
from ulmo.models.quantizers import QUANTIZERS
from ulmo.models.stack import Stack


class VQVAEOutput(NamedTuple):
    """Results for tiles (B, M, frames, 1); the last six come from the quantizer."""

    reconstruction: Any  # (B, M, frames, 1) float32
    latents: Any  # (B, columns, bands, EMB) float32, before quantisation
    ids: Any  # (B, columns, bands) int32
    distances: Any  # (B, columns, bands): squared Euclidean, from the latent to its code
    commitment: Any  # scalar loss
    codebook: Any  # scalar: a loss if the codebook learns by gradient, else a metric
    perplexity: Any  # scalar, of this batch
    usage: Any  # scalar, of this batch


@keras.saving.register_keras_serializable(package="ulmo")
class VQVAE(keras.Model):
    """Vector-quantised autoencoder (van den Oord et al. 2017), made of built parts.

    Train it with `compile(optimizer)` and `fit`, or call `train_step` in a loop. The loss is
    equation 3 of the paper, with means in place of sums, and moving averages in place of the
    codebook's term: the mean squared error over the valid frames of the batch, plus
    `commitment_cost` times the commitment. Its default, 0.25, is beta of the paper, which found 0.1
    to 2.0 to work alike. If the codebook learns by gradient, its term is added as in the paper.
    For other objectives of the encoder see ulmo.models.objectives and ulmo.models.learner.
    """

    def __init__(
        self,
        encoder: Any,
        quantizer: Any,
        decoder: Any,
        commitment_cost: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.commitment_cost = commitment_cost

    def build(self, x_shape: tuple[int | None, ...]) -> None:
        """Create the weights of the parts that are not built yet, from (B, M, frames, 1)."""
        settings = self.encoder.settings
        latents_shape = (x_shape[0], None, settings.bands, settings.embedding_dim)
        shapes = {self.encoder: x_shape, self.quantizer: latents_shape, self.decoder: latents_shape}
        for part, shape in shapes.items():
            if not part.built:
                part.build(shape)

    def call(
        self,
        x: Any,
        valid_frames: Any = None,
        token_weights: Any = None,
        training: bool = False,
    ) -> VQVAEOutput:
        """Encode, quantise and decode tiles (B, M, frames, 1).

        valid_frames: (B,) int32; later frames are padding. They are set to zero, as behind the end
            of a recording, and a token's weight is the share of its frames that are valid. None:
            all frames are valid.
        token_weights: (B, columns, bands), further weights of the tokens for the quantizer, for
            example less for silence. They do not affect the reconstruction. None: 1.

        ValueError if the decoder's output does not have the shape of x.
        """
        latents = self.encode(x, valid_frames)
        return self._rest(x, latents, valid_frames, token_weights, training)

    def encode(self, x: Any, valid_frames: Any = None, encoder: Any = None) -> Any:
        """Latents (B, columns, bands, EMB) of tiles; `valid_frames` as in `call`.

        `encoder`: used in place of the model's own.
        """
        if valid_frames is not None:
            x = ops.where(_valid_cells(valid_frames, ops.shape(x)[2]), x, 0)
        return (encoder or self.encoder)(x)

    def _rest(
        self, x: Any, latents: Any, valid_frames: Any, token_weights: Any, training: bool
    ) -> VQVAEOutput:
        """Quantise and decode the latents of tiles."""
        frames = ops.shape(x)[2]
        weights = self.inside(latents, frames if valid_frames is None else valid_frames)
        if token_weights is not None:
            weights = weights * ops.cast(token_weights, "float32")
        quantized = self.quantizer(latents, weights=weights, training=training)
        reconstruction = self.decoder(quantized.quantized, frames=frames)
        _same_shape(x, reconstruction)
        figures = quantized._asdict()
        del figures["quantized"]
        return VQVAEOutput(reconstruction=reconstruction, latents=latents, **figures)

    def inside(self, latents: Any, valid_frames: Any) -> Any:
        """(B, columns, bands): share of the frames of a column that are valid."""
        stride = self.encoder.settings.time_stride
        batch, columns, bands, _ = ops.shape(latents)
        left = ops.reshape(valid_frames, (-1, 1)) - ops.arange(columns) * stride
        weights = ops.clip(ops.cast(left, "float32") / stride, 0, 1)
        return ops.broadcast_to(weights[:, :, None], (batch, columns, bands))

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of the optimizer and of the codebook; returns the scalars of this batch.

        `data` is x, (x, valid_frames) or (x, valid_frames, token_weights). With float16 the
        optimizer scales the loss.
        """
        with tf.GradientTape() as tape:
            losses = self._measure(data, training=True)
            loss = self.optimizer.scale_loss(losses["total"])
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return losses

    def test_step(self, data: Any) -> dict[str, Any]:
        """The scalars of `train_step`, without training."""
        return self._measure(data, training=False)

    def _measure(self, data: Any, training: bool) -> dict[str, Any]:
        x, valid_frames, token_weights = keras.utils.unpack_x_y_sample_weight(data)
        x = ops.convert_to_tensor(x, "float32")
        latents = self.encode(x, valid_frames)
        return self.autoencode(x, latents, valid_frames, token_weights, training=training)

    def autoencode(
        self, x: Any, latents: Any, valid_frames: Any, token_weights: Any, *, training: bool
    ) -> dict[str, Any]:
        """Scalar losses of tiles x, from their latents or those of a damaged copy.

        `training`: whether the codebook learns.
        """
        output = self._rest(x, latents, valid_frames, token_weights, training)
        reconstruction = self.power(output.reconstruction - x, valid_frames)
        total = reconstruction + self.commitment_cost * output.commitment
        if self.quantizer.learns_by_gradient:
            total = total + output.codebook
        own = {name: getattr(output, name) for name in AUTOENCODED if name != "reconstruction"}
        return {"total": total, "reconstruction": reconstruction, **own}

    def power(self, x: Any, valid_frames: Any = None) -> Any:
        """Mean square (scalar) of the valid cells of tiles (B, M, frames, 1)."""
        if valid_frames is None:
            return ops.mean(ops.square(x))
        valid = _valid_cells(valid_frames, ops.shape(x)[2])
        squares = ops.square(ops.where(valid, x, 0))
        columns = ops.sum(ops.cast(valid, "float32"))
        return ops.divide_no_nan(ops.sum(squares), columns * ops.shape(x)[1])

    def get_config(self) -> dict[str, Any]:
        """The serialised parts and the commitment cost."""
        parts = {name: getattr(self, name) for name in ("encoder", "quantizer", "decoder")}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "commitment_cost": self.commitment_cost,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model that `get_config` describes, without its weights."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "quantizer", "decoder")
        }
        return cls(**{**config, **parts})


def build_vqvae(settings: ModelSettings, seed: int = 0, devices: Devices = ()) -> VQVAE:
    """The model of the settings; its weights depend on the seed alone.

    Encoder and decoder compute on the `devices`, each some tiles of a batch.
    """
    seeds = np.random.SeedSequence(seed).generate_state(3) >> 1
    encoder_seed, quantizer_seed, decoder_seed = (int(number) for number in seeds)
    model = VQVAE(
        Encoder(settings, seed=encoder_seed),
        QUANTIZERS[settings.quantizer].of(settings, quantizer_seed),
        Decoder(settings, seed=decoder_seed),
        commitment_cost=settings.commitment_cost,
    )
    model.build((None, settings.tile_size, None, 1))
    model.encoder.devices = model.decoder.devices = devices
    return model


def weights_of(model: VQVAE) -> dict[str, NDArray[np.float32]]:
    """All weights of encoder, codebook and decoder, float32, by name.

    Names: `encoder.conv_0.kernel` (height, width, in, out), `encoder.conv_0.bias`, ...,
    `encoder.project.kernel`, `codebook` (CB, EMB), or `codebook_0`, ... if there are stages,
    `boundaries.kernel` (EMB, CB) and `boundaries.bias` (CB,) if there are some,
    `decoder.layer_0.kernel`, .... The kernel of a transposed convolution is (height, width, out,
    in), as in Keras.
    """
    return {
        name: ops.convert_to_numpy(ops.cast(variable, "float32"))
        for name, variable in _variables(model).items()
    }


def set_weights_of(model: VQVAE, weights: dict[str, NDArray[np.float32]]) -> None:
    """Set weights as `weights_of` returns them; the codebook's averages start again from them.

    ValueError, before any change, if a name is missing or unknown, or a shape is wrong.
    """
    variables = _variables(model)
    if missing := sorted(variables.keys() - weights.keys()):
        raise ValueError(f"weights are missing: {', '.join(missing)}")
    if unknown := sorted(weights.keys() - variables.keys()):
        raise ValueError(f"weights are unknown: {', '.join(unknown)}")
    for name, variable in variables.items():
        if weights[name].shape != tuple(variable.shape):
            raise ValueError(f"{name} has shape {weights[name].shape}, not {variable.shape}")
    stages = stage_names(len(model.quantizer.stages))
    model.quantizer.load([weights[name] for name in stages])
    for name in variables.keys() - set(stages):
        variables[name].assign(weights[name])


def _variables(model: VQVAE) -> dict[str, Any]:
    """Variables of encoder and decoder, and the codebook of each stage, by name."""
    stages = model.quantizer.stages
    return {
        **_named(model.encoder),
        **dict(zip(stage_names(len(stages)), stages, strict=True)),
        **_named(model.decoder),
        **{f"boundaries.{name}": weight for name, weight in model.quantizer.boundaries.items()},
    }


def _named(stack: Stack) -> dict[str, Any]:
    return {
        f"{stack.part}.{layer.name}.{weight}": getattr(layer, weight)
        for layer, record in zip(stack.blocks, getattr(stack.settings, stack.part), strict=True)
        for weight in record.shapes
    }


def _valid_cells(valid_frames: Any, frames: Any) -> Any:
    """(B, 1, frames, 1) bool: cells of tiles (B, M, frames, 1) that are not padding."""
    return ops.arange(frames)[None, None, :, None] < ops.reshape(valid_frames, (-1, 1, 1, 1))


def _same_shape(x: Any, reconstruction: Any) -> None:
    """Raise ValueError if two known dimensions differ."""
    pairs = zip(x.shape, reconstruction.shape, strict=True)
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(
            f"the decoder returned {tuple(reconstruction.shape)} for tiles {tuple(x.shape)}: "
            "tile_size and strides of encoder and decoder must be equal"
        )
