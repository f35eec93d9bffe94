"""Where artifacts are kept: a folder or object storage, and a cache of files on this machine."""
