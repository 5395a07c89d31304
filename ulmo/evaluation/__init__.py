"""Measures of tokens, latents and reconstructions: arrays in, numbers out. Used by `pipelines`."""
