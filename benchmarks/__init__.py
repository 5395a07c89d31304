"""ulmo side by side with what its users would use otherwise. Run with `make bench`."""
