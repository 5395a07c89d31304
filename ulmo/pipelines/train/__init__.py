"""ulmo-train: a folder of tiles to a run, and its tokenizer."""
