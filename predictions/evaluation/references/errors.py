"""Why a reference cannot be set. The messages are for the caller."""


class ReferenceRefused(ValueError):
    """The rows cannot be a reference, or the file cannot be read."""


class ReferenceTooLarge(ReferenceRefused):
    """The file has more bytes or rows than may be sent; the message names the command."""


class ReferenceBusy(Exception):
    """This process is scoring the rows of another reference."""

    retry_after = 5
