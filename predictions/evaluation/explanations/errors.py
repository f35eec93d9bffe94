"""Why there is no explanation; the messages are for the caller. No Django here."""


class ExplanationRefused(Exception):
    """This prediction cannot be explained; the message says why, and what to do if anything."""


class ExplanationFailed(Exception):
    """The model's library failed to explain the input."""


class ExplanationTimedOut(ExplanationFailed):
    """The explanation was not complete before the deadline."""


class ExplanationUnavailable(ExplanationFailed):
    """The model's own server or process could not be reached."""

    retry_after = 10


class ExplanationBusy(Exception):
    """This process is explaining another prediction."""

    retry_after = 5
