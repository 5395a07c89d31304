"""The tokenizer bundle: read, written, checked, and run without TensorFlow.

Used by `tokenizer` and by the commands in `pipelines`.
"""
