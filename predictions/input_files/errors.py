"""Why a file of rows cannot be read. The messages are for the caller. No Django here."""


class FileRefused(ValueError):
    """The file is not of its format, or lacks a column."""


class FileTooLarge(FileRefused):
    """What is read from the file takes more memory than the caller allows."""


class ParquetUnavailable(FileRefused):
    """The library that reads Parquet is not installed."""
