"""Settings of libraries in the environment that change results. This module imports nothing."""

# How the names begin of those that change the last bits of samples, levels or weights.
FOREIGN = (
    *("SOXR_", "OPENCV_", "OPENBLAS_CORETYPE"),
    *("KERAS_", "ONEDNN_", "DNNL_", "XLA_", "TF_XLA_", "TF_ENABLE_", "TF_DISABLE_"),
)
