"""`python -m ulmo` is the command `ulmo`."""

from ulmo.cli import ulmo

ulmo(prog_name="ulmo")
