"""ulmo eval: how good a tokenizer is."""
