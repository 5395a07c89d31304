"""The descriptors of the three streams, which a process may be started without."""

import os


def fill_descriptors() -> None:
    """Open the null device on each of the descriptors 0 to 2 that is closed.

    The next file that is opened would else be given the number of a stream, and a library that
    writes to stderr would write to that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number
