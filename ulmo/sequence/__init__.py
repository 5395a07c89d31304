"""The structure of sequences of ids: which stand for each other, what repeats. Arrays, no Keras.

Used by `pipelines`.
"""
