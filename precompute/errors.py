"""The one error that a user is meant to read."""


class UserError(Exception):
    """A mistake in input or settings: one sentence that names the file or field and what to do. Ends in exit code 1."""
