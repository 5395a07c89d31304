"""The tokenizer bundle: written, read, checked, and run without TensorFlow.

`tokenizer` and the commands in `pipelines` use it.
"""
