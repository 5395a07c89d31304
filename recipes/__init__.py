"""How tokenizers that ship were trained: settings, corpora, and the command that reads both."""
