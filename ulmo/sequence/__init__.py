"""The structure of sequences of ids: which ids stand for each other. Arrays alone, no Keras.

Used by `pipelines`.
"""
