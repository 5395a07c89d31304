"""The command ulmo lm: a model over tokens, trained, and asked how surprising each column is."""
