"""How the C library treats memory."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # options of mallopt(3)
_KEPT_BYTES = 256 << 20
_HEAP_BYTES = 32 << 20  # the largest threshold that glibc takes


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, for the next block of the same size.

    A front end takes and frees the same megabytes for every block. By default glibc hands them
    back to the system and fetches them again, page by page, which was measured to take as long as
    everything else that ulmo-prep does. Without glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_MMAP_THRESHOLD, _HEAP_BYTES)
