"""Sound files: what they hold, whatever their headers say, and their samples in blocks.

Used by all of `preprocessing`. Knows nothing of time and of front ends.
"""
