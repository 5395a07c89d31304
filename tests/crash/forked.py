"""A child that is forked from this process, does one thing and ends."""

import os
import sys
import traceback


def become(function, errors):
    """Run a function in a child that was just forked, and end with its exit status, or with 99.

    Its stdout goes nowhere, its stderr to the open file `errors`. Whatever comes, a signal too,
    nothing of the parent's code runs on in the child.
    """
    status = 99
    try:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors.fileno(), 2)
            status = function() or 0
        except SystemExit as ended:
            status = ended.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
