"""Why an erasure or a legal hold is refused; the messages are for the caller."""


class HeldByLaw(Exception):
    """A legal hold forbids a deletion; the message has its reason."""


class LegalHoldReleased(Exception):
    """The hold was released before."""


class ErasureTooLarge(Exception):
    """There are more rows than one transaction may delete."""


class NamesSubject(ValueError):
    """The reason, which is kept, contains the name that it is about."""
