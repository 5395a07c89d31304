"""ulmo verify: whether an output is whole."""
