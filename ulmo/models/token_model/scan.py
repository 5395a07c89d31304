"""A linear recurrence over many columns, without a step for each of them."""

from typing import Any

from keras import ops

_PIECE = 32  # columns of a piece: 5 doublings


def scan(kept: Any, added: Any, before: Any) -> tuple[Any, Any]:
    """h_t = kept_t * h_(t-1) + added_t, for all t, and the last.

    kept, added: (streams, columns, width); columns is a multiple of 32. before: (streams, width).

    Within pieces of 32 columns the recurrence is doubled (Hillis and Steele 1986); the pieces
    then follow each other.
    """
    _, columns, width = kept.shape
    pieces = columns // _PIECE
    kept = ops.reshape(kept, (-1, pieces, _PIECE, width))
    added = ops.reshape(added, (-1, pieces, _PIECE, width))
    step = 1
    while step < _PIECE:
        earlier = [[0, 0], [0, 0], [step, 0], [0, 0]]
        added = added + kept * ops.pad(added[:, :, :-step], earlier)
        kept = kept * ops.pad(kept[:, :, :-step], earlier, constant_values=1.0)
        step *= 2
    states = []
    for piece in range(pieces):
        states.append(added[:, piece] + kept[:, piece] * before[:, None])
        before = states[-1][:, -1]
    return ops.reshape(ops.stack(states, axis=1), (-1, columns, width)), before
