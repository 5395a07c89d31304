"""ulmo regions: stretches of sound that are not background."""
