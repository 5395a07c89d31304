"""ulmo-tokenize: recordings to tokens."""
