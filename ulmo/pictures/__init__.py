"""How pictures are drawn: axes, text, the colours of codes, and the import of Matplotlib.

Used by the commands in `pipelines` that draw.
"""
