"""How pictures are drawn: axes, text, and the import of Matplotlib.

Used by the commands in `pipelines` that draw.
"""
