"""A server of S3 for tests, one for the whole run of a process."""
