"""The kinds of storage: a folder, a bucket, and the cache of its files. No Django here."""
