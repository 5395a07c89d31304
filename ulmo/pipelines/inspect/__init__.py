"""ulmo inspect: what is in a bundle."""
