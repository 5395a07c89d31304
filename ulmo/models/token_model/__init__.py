"""The token model in Keras, which learns; `ulmo.sequence.network` scores with its weights."""
