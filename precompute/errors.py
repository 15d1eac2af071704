"""The one error that a user is meant to read."""


class UserError(Exception):
    """A mistake in input or settings: one sentence that names the file or field and what to do. Ends in exit code 1."""


def need(condition: bool, message: str) -> None:
    """Raises UserError with the message where the condition does not hold."""
    if not condition:
        raise UserError(message)
