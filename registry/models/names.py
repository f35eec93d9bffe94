"""Names of models, and the error for one that does not exist."""

# Names become folder names below MODEL_PATH: this rules out "..", slashes and hidden folders.
NAME_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._+-]*\Z"


class ModelNotFound(LookupError):
    """The model does not exist or is inactive. The message can be shown to the caller."""
