"""A total spread over layers or stages, and the names of the stages."""


def spread_stride(total: int, layers: int) -> tuple[int, ...]:
    """Spread a total stride over the layers of one axis, the largest factor first.

    The prime factors of the total are merged, the two smallest first, until there are no more of
    them than layers and one is at least 4. The first layer shrinks the most, because feature maps
    at full resolution take most of the training time (61 tiles a second against 31).

    >>> spread_stride(16, 4), spread_stride(56, 4), spread_stride(16, 2)
    ((4, 2, 2, 1), (7, 2, 2, 2), (4, 4))
    """
    factors = _prime_factors(total)
    while len(factors) > layers or (len(factors) > 1 and factors[-1] < 4):
        factors = sorted([factors[0] * factors[1], *factors[2:]])
    return (*reversed(factors), *(1,) * (layers - len(factors)))


def spread_factors(total: int, most: int) -> tuple[int, ...]:
    """Factors of a total, the largest first, merged while their product is at most `most`.

    >>> spread_factors(512, 8), spread_factors(512, 32), spread_factors(1000, 8)
    ((8, 8, 8), (32, 16), (8, 5, 5, 5))
    """
    merged: list[int] = []
    for factor in _prime_factors(total):
        if merged and merged[-1] * factor <= most:
            merged[-1] *= factor
        else:
            merged.append(factor)
    return tuple(sorted(merged, reverse=True))


def _prime_factors(number: int) -> list[int]:
    factors = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def stage_names(stages: int) -> list[str]:
    """Name of each stage's codebook among the weights of a model."""
    return ["codebook"] if stages == 1 else [f"codebook_{index}" for index in range(stages)]
