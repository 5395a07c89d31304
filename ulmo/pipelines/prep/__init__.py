"""ulmo-prep: recordings to tiles."""
