"""Why object storage cannot be used. No Django here."""


class ObjectStorageError(Exception):
    """The storage cannot be reached, refuses, or is not installed.

    The message is one line for the operator, without keys. It may name the host of the storage.
    """
