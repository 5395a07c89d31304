"""The only rooms that read and write runs."""
