"""ulmo-train: tiles to a run with a tokenizer."""
