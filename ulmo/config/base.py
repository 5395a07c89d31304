"""What all settings are."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ulmo.config.errors import UserError, complaint


class Settings(BaseModel):
    """Frozen, and closed: an unknown key, a NaN or a value out of bounds is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """Validate values that came from a user; raise UserError with one line for them."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(complaint(error)) from None
