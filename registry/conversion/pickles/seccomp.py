"""Forbids this process sockets, other processes and changes of rights, by a seccomp filter.

The filter is a program of Linux's classic BPF, as <linux/seccomp.h> and <linux/filter.h> define it.
No Django here.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass
from typing import TypeAlias

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
# Offsets in struct seccomp_data, on a little-endian machine.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
CLONE_THREAD = 0x00010000
_Instruction: TypeAlias = tuple[int, int, int, int]
"""Operation, instructions to skip if true and if false, operand: struct sock_filter."""

# On x86-64, calls of the x32 form have this bit.
X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class _Calls:
    """The numbers of system calls on one architecture."""

    architecture: int
    forbidden: tuple[int, ...]
    """Sockets; processes, signals and tracing; namespaces and mounts; owners, modes and times of
    files; shared memory; io_uring, which gets round a filter; rlimits.
    """
    clone: int
    prlimit: int
    tgkill: int
    clone3: int = 435


# Sockets, processes, namespaces, files' rights, shared memory, in this order, one line each.
_X86_64 = _Calls(
    0xC000003E,
    (
        *(41, 42, 43, 44, 46, 49, 50, 53, 288, 307),
        *(57, 58, 59, 62, 101, 129, 200, 297, 310, 311, 322, 424, 434, 438),
        *(155, 161, 165, 166, 272, 308, 428, 429, 430, 442),
        *(90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280, 452),
        *(29, 64, 68, 240, 319, 447, 141, 160, 248, 249, 250, 298, 321, 323, 425, 426, 427),
    ),
    clone=56,
    prlimit=302,
    tgkill=234,
)
_AARCH64 = _Calls(
    0xC00000B7,
    (
        *(198, 199, 200, 201, 202, 203, 206, 211, 242, 269),
        *(117, 129, 130, 138, 221, 240, 270, 271, 281, 424, 434, 438),
        *(39, 40, 41, 51, 97, 268, 428, 429, 430, 442),
        *(5, 6, 7, 14, 15, 16, 52, 53, 54, 55, 88, 452),
        *(180, 186, 190, 194, 279, 447, 140, 164, 217, 218, 219, 241, 280, 282, 425, 426, 427),
    ),
    clone=220,
    prlimit=261,
    tgkill=131,
)
_CALLS = {"x86_64": _X86_64, "aarch64": _AARCH64}


def restrict() -> bool:
    """Apply the filter to this process, for good; False if the system cannot.

    A forbidden call fails with EPERM. Threads can still be started.
    """
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return False
    program = _program(calls)
    # struct sock_fprog: the number of instructions and a pointer to them.
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0) == 0)


def _program(calls: _Calls) -> bytes:
    lines: list[_Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 1, 0, calls.architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_AT_LEAST, 0, 1, X32_BIT),
        _failure(errno.EPERM),
    ]
    for number in calls.forbidden:
        lines += [(JUMP_IF_EQUAL, 0, 1, number), _failure(errno.EPERM)]
    # Its flags are in memory, which a filter cannot read; the C library then falls back to clone.
    lines += [(JUMP_IF_EQUAL, 0, 1, calls.clone3), _failure(errno.ENOSYS)]
    lines += [*_conditions(calls), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _conditions(calls: _Calls) -> list[_Instruction]:
    """Calls whose arguments decide: threads, signals to oneself and reading limits are allowed."""
    new_limit = ARGUMENTS + 2 * 8
    return [
        (JUMP_IF_EQUAL, 0, 4, calls.clone),
        (LOAD, 0, 0, ARGUMENTS),
        (JUMP_IF_ANY_BIT, 1, 0, CLONE_THREAD),
        _failure(errno.EPERM),
        (RETURN, 0, 0, ALLOW),
        # How a process signals itself, as abort() does.
        (JUMP_IF_EQUAL, 0, 4, calls.tgkill),
        (LOAD, 0, 0, ARGUMENTS),
        (JUMP_IF_EQUAL, 1, 0, os.getpid()),
        _failure(errno.EPERM),
        (RETURN, 0, 0, ALLOW),
        # Reading a limit passes a null pointer for the new one.
        (JUMP_IF_EQUAL, 0, 6, calls.prlimit),
        (LOAD, 0, 0, new_limit),
        (JUMP_IF_EQUAL, 0, 2, 0),
        (LOAD, 0, 0, new_limit + 4),
        (JUMP_IF_EQUAL, 1, 0, 0),
        _failure(errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]


def _failure(code: int) -> _Instruction:
    return (RETURN, 0, 0, FAIL | code)
