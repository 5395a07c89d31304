"""The only room that reads and writes runs: a folder for each command. Used by `cli`."""
