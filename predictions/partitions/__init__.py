"""The log as partitions by ranges of ids, on PostgreSQL: created ahead, and dropped whole."""
