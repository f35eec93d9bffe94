"""The log in partitions beside the log in one table."""
