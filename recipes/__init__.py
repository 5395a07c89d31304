"""How the shipped tokenizers were trained: settings, corpora, and the command that reads both."""
