"""Why a file of rows cannot be read. The messages are for the caller. No Django here."""


class FileRefused(ValueError):
    """The file is not of its format, or lacks a column."""


class ParquetUnavailable(FileRefused):
    """The library that reads Parquet is not installed."""
