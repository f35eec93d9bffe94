"""Restricts this process to some files, by Linux's Landlock. No Django here.

Constants and structures are those of <linux/landlock.h>; the system calls have the same numbers on
every architecture.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULE_PATH_BENEATH = 1
CREATE_RULESET_VERSION = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
# The first version whose rules cover truncation: without it every file could be emptied.
MIN_VERSION = 3
# All rights to files of version 3, among them to create, link, move and remove.
ALL_RIGHTS = (1 << 15) - 1
# From version 6 on: no signals to, and no abstract sockets of, processes outside.
SCOPED_VERSION, SCOPES = 6, 0b11
PR_SET_NO_NEW_PRIVS = 38


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Let this process only read `readable` and write the existing files of `writable`.

    It can create, move and remove no file. False if the kernel has no Landlock that can do this.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), CREATE_RULESET_VERSION)
    if version < MIN_VERSION:
        return False
    attributes = struct.pack("QQQ", ALL_RIGHTS, 0, SCOPES if version >= SCOPED_VERSION else 0)
    # An older kernel takes a shorter structure, which has only the rights to files.
    size = len(attributes) if version >= SCOPED_VERSION else 8
    ruleset = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            _allow(libc, ruleset, path, READ_FILE | READ_DIR | EXECUTE)
        for path in writable:
            _allow(libc, ruleset, path, READ_FILE | WRITE_FILE | TRUNCATE)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not path.is_dir():
                # The kernel rejects a rule for a file that has rights to folders.
                rights &= ~READ_DIR
            rule = struct.pack("=Qi", rights, descriptor)
            libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
        finally:
            os.close(descriptor)
