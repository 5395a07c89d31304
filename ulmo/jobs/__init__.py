"""How work is spread: inputs, worker processes, progress.

Used by the commands in `pipelines`.
"""
