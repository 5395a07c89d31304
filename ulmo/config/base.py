"""The base of all settings."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ulmo.config.errors import UserError, complaint


class Settings(BaseModel):
    """Frozen; an unknown key, a NaN or a value out of bounds is refused.

    A field's docstring is its help text on the command line.
    """

    groups: ClassVar[dict[str, tuple[str, ...]]] = {}  # fields by their heading in `--help`

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """Validate values given by a user; UserError with one line if they are wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(complaint(error)) from None
