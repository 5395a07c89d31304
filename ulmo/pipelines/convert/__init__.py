"""ulmo convert: tokens in one format to another."""
