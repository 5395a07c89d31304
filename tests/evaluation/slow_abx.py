"""ABX in plain loops: frames, paths and triples one by one."""

import math
from fractions import Fraction


def frame_distance(name, x, y):
    """Of two frames, each a list of ids or of numbers; exact for ids."""
    if name == "identical":
        return Fraction(sum(a != b for a, b in zip(x, y, strict=True)), len(x))
    if name == "euclidean":
        return math.dist(x, y)
    norms = math.hypot(*x), math.hypot(*y)
    if 0 in norms:
        return 0 if norms == (0, 0) else 0.5
    unit = [[value / norm for value in frame] for frame, norm in zip((x, y), norms, strict=True)]
    return 2 * math.asin(min(math.dist(*unit) / 2, 1)) / math.pi


def warp(name, x, y):
    """Cost of the cheapest path over its steps, traced back from the end as torchdtw does."""
    total = {}
    for i, of_x in enumerate(x):
        for j, of_y in enumerate(y):
            before = [total[at] for at in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if at in total]
            total[i, j] = frame_distance(name, of_x, of_y) + min(before, default=0)
    i, j, steps = len(x) - 1, len(y) - 1, 1
    while (i, j) != (0, 0):
        both, of_y, of_x = (
            total.get(at, math.inf) for at in ((i - 1, j - 1), (i, j - 1), (i - 1, j))
        )
        if i and j and both <= of_y and both <= of_x:
            i, j = i - 1, j - 1
        elif i == 0 or (j and of_y <= of_x):
            j -= 1
        else:
            i -= 1
        steps += 1
    return total[len(x) - 1, len(y) - 1] / steps


def error_of_cell(items, distance):
    """Mean error over triples (a, b, x) of indices; None of none."""
    errors = []
    for a, b, x in items:
        to_a, to_b = distance(x, a), distance(x, b)
        errors.append(0.5 if to_a == to_b else float(to_a > to_b))
    return math.fsum(errors) / len(errors) if errors else None


def mean(values):
    return math.fsum(values) / len(values) if values else math.nan


def abx_figures(labels, speakers, distance, *, across):
    """Error, cells and triples; `distance` is a function of two indices, X first."""
    every = range(len(labels))
    pairs, cells, triples = [], 0, 0
    for label_a in sorted(set(labels)):
        for label_b in sorted(set(labels) - {label_a}):
            of_pair = []
            for speaker in sorted(set(speakers)):
                for other in sorted(set(speakers)):
                    if (other != speaker) is not across:
                        continue
                    found = [
                        (a, b, x)
                        for a in every
                        for b in every
                        for x in every
                        if x != a
                        and (labels[a], labels[b], labels[x]) == (label_a, label_b, label_a)
                        and (speakers[a], speakers[b], speakers[x]) == (speaker, speaker, other)
                    ]
                    if found:
                        of_pair.append(error_of_cell(found, distance))
                        cells, triples = cells + 1, triples + len(found)
            if of_pair:
                pairs.append(mean(of_pair))
    return mean(pairs), cells, triples
