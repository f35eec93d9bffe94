"""What can be wrong with partitions; the messages are for the operator."""


class PartitionsUnavailable(Exception):
    """The database cannot have partitions, another process is changing them, or somebody else has
    made one of another kind.
    """


class ConversionRefused(Exception):
    """The table has something that would not survive the conversion; nothing was changed."""


class TableBusy(Exception):
    """The table was in use at every attempt to lock it; nothing was changed."""


class ArchiveFailed(Exception):
    """A partition could not be exported, or was not the same when read back; it is kept."""
