"""ulmo export-hub: a bundle as a repository for the Hugging Face hub."""
