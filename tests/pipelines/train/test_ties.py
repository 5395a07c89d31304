import numpy as np
import pytest

from ulmo.pipelines.train.export import _is_tie

FIRST = np.array([[1, 0], [-1, 0], [0, 9]], np.float32)
SECOND = np.array([[0, 0.5], [0, -0.5]], np.float32)


@pytest.mark.parametrize(
    ("latent", "one", "other", "tie"),
    [
        ((0, 0.4), 0, 2, True),  # the first stage cannot tell, the second was never asked
        ((0, 0.4), 0, 3, True),
        ((1e-3, 0.4), 0, 2, False),
        ((1, 0), 0, 1, True),
        ((1, 1e-3), 0, 1, False),
        ((1, 0.3), 0, 0, True),
        ((0, 0), 0, 4, False),
    ],
)
def test_ids_are_followed_to_where_they_part(latent, one, other, tie):
    for first, second in ((one, other), (other, one)):
        assert _is_tie(np.array(latent, np.float32), [FIRST, SECOND], first, second) is tie
