"""ulmo repeats: what recurs in recordings."""
