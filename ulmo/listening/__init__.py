"""Recordings as the commands of events hear them: ids and levels of each column, and their times.

Regions and repeats are found here, from arrays that `sequence` is given. Used by
`pipelines.regions`, `pipelines.repeats` and `pipelines.look`.
"""
