"""The descriptors 0 to 2 of stdin, stdout and stderr, some of which may be closed."""

import os


def fill_descriptors() -> None:
    """Open the null device on each of the descriptors 0 to 2 that is closed.

    Otherwise the next file that is opened would get the number of a stream, and a library that
    writes to stderr would write to that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number
