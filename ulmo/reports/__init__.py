"""What a command shows a person: progress on stderr, a summary on stdout.

A file for each command. Used by `cli`.
"""
