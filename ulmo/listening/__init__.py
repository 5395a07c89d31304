"""Recordings as the commands of events hear them: ids and levels of each column, and their times.

Used by `pipelines.regions` and `pipelines.repeats`. Arrays go on to `sequence`.
"""
