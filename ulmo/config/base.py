"""The base of all settings."""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ulmo.config.errors import UserError, complaint


class Settings(BaseModel):
    """Frozen; an unknown key, a NaN or a value out of bounds is refused.

    A field's docstring is its help text on the command line: see `help_texts`. The validator of a
    class is built when it is first used: a command uses few of them.
    """

    groups: ClassVar[dict[str, tuple[str, ...]]] = {}  # fields by their heading in `--help`

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """Validate values given by a user; UserError with one line if they are wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(complaint(error)) from None


@cache
def help_texts(settings: type[Settings]) -> dict[str, str]:
    """The docstring of each field that has one, by the field's name; none without the source.

    They are read from the source when help is shown. pydantic would read them at each import of
    the settings, which takes a fifth of the time of a command that does nothing.
    """
    try:
        parts = inspect.getsource(sys.modules[settings.__module__])
    except OSError:  # a frozen program, or one that is installed as byte code alone
        return {}
    kind = next(
        part
        for part in ast.walk(ast.parse(parts))
        if isinstance(part, ast.ClassDef) and part.name == settings.__name__
    )
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(kind.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
