"""Why a file is not accepted as a model. No Django here."""


class ArtifactRejected(ValueError):
    """The file, or what the request declares about it, is not acceptable.

    `errors` maps a field of the request ("artifact", "framework", "signature", "example" or a path
    below it) to messages for the caller.
    """

    def __init__(self, message: str, *, field: str = "artifact") -> None:
        super().__init__(message)
        self.errors: dict[str, list[str]] = {field: [message]}


class ArtifactTooLarge(ArtifactRejected):
    """The file is larger than the limit."""
