"""The database as a whole: whether it can be written, its pooler, and locks between processes."""
