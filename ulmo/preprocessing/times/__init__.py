"""When sound was recorded: times in names, headers and logs, and time left out inside a file."""
