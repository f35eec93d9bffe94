"""Confines the process that loads a pickle: no network, no other files, no other processes.

A pickle runs any code that it contains, so the limits of `registry.artifacts.sandbox` on memory and
time are not enough. Each protection is one of the Linux kernel's own; `confine` applies all that
this system permits, and says which. No Django here.
"""

import ctypes
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.artifacts import sandbox
from registry.conversion.pickles import landlock, seccomp
from registry.exact_json.values import JSONObject
from registry.isolation import processes

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
CAPABILITY_VERSION = 0x20080522
# Files of the system that Python and the numeric libraries read. None holds a secret.
SYSTEM_PATHS = (
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/devices/system",
)


@dataclass(frozen=True, slots=True)
class Confinement:
    """What keeps a process from the network, from files, and from other processes.

    Each field names the kernel's protections that apply, and is empty if none does.
    """

    network: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()

    @property
    def gaps(self) -> list[str]:
        """What the process could still do, because this system permits no protection from it."""
        possible = {
            "use the network": self.network,
            "read and change every file of your user": self.files,
            "start processes": self.processes,
        }
        return [action for action, protections in possible.items() if not protections]

    def as_json(self) -> JSONObject:
        return {
            "network": list(self.network),
            "files": list(self.files),
            "processes": list(self.processes),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Iterable[str]]) -> "Confinement":
        return cls(*(tuple(document[name]) for name in ("network", "files", "processes")))


def confine(*, readable: Iterable[Path], writable: Iterable[Path]) -> Confinement:
    """Confine this process for the rest of its life, as far as the system permits.

    It can still read `readable` (files and folders) and Python's own files, and write the existing
    files of `writable`. Call it before a library starts a thread: threads that exist already stay
    unconfined.
    """
    if sys.platform != "linux" or len(os.listdir("/proc/self/task")) > 1:
        return Confinement()
    namespace = _leave_network()
    _drop_capabilities()
    has_landlock = landlock.restrict([*_python_paths(), *readable], list(writable))
    # The last one, since it also forbids the system calls of the others.
    has_seccomp = seccomp.restrict()
    filters = ("seccomp filter",) if has_seccomp else ()
    return Confinement(
        network=(("network namespace",) if namespace else ()) + filters,
        files=("Landlock",) if has_landlock else (),
        processes=filters,
    )


def probe(timeout_seconds: float = 60) -> Confinement:
    """The confinement that this system permits, found out in a subprocess."""
    reply = sandbox.run(
        "registry.conversion.pickles.confinement",
        {},
        timeout_seconds=timeout_seconds,
        memory_bytes=2**30,
    )
    return Confinement.from_json(reply)


def _leave_network() -> bool:
    """Move to a network namespace that has no connection.

    A user may create one only together with a user namespace, which also takes the capabilities of
    root away. Containers often forbid both.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.unshare(flags) == 0 for flags in (CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNET))


def _drop_capabilities() -> None:
    """Root without capabilities is bound by the permissions of files, like any user."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)())


def _python_paths() -> list[Path]:
    """The interpreter's files and what it imports, but of this project only its code."""
    paths = [*SYSTEM_PATHS, *sysconfig.get_paths().values(), sys.prefix, sys.base_prefix]
    paths += [path for path in sys.path if path and Path(path).resolve() != processes.PROJECT_ROOT]
    paths.append(str(processes.PROJECT_ROOT / "registry"))
    return [Path(path) for path in paths]


if __name__ == "__main__":
    sandbox.serve(lambda _: confine(readable=(), writable=()).as_json())
