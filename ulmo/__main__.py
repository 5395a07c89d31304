"""`python -m ulmo` is the command `ulmo`."""

from ulmo.cli.start import ulmo

ulmo(prog_name="ulmo")
