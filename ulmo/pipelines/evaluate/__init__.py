"""ulmo eval: measures how good a tokenizer is, on prepared tiles and on labelled recordings."""
