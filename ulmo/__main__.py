"""`python -m ulmo` is the command `ulmo`."""

from ulmo.cli.main import ulmo

ulmo(prog_name="ulmo")
