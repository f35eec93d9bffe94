"""What the kernel knows of a connection: when data came and went, and how much. Linux alone.
No Django here."""

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

IS_SUPPORTED = sys.platform == "linux" and os.path.isdir("/proc/self/fd")

# struct tcp_info of linux/tcp.h, which grows at its end: up to tcpi_data_segs_out (Linux 4.6).
_INFO_BYTES = 160
_UNACKED = struct.Struct("=24xI")
_LAST_DATA = struct.Struct("=44xI4xI")
_BYTES = struct.Struct("=120xQQ")
_NOT_SENT = struct.Struct("=144xI")
_DATA_SEGMENTS_OUT = struct.Struct("=156xI")


@dataclass(frozen=True, slots=True)
class TCPInfo:
    """Times are milliseconds before now."""

    received_bytes: int
    acknowledged_bytes: int
    received_ms: int
    sent_ms: int
    has_sent: bool
    has_unsent: bool


def connections(port: int) -> Iterator[tuple[int, int, str, TCPInfo]]:
    """The open connections to `port` of this process: descriptor, inode, peer's host, state.

    A descriptor may be closed, and its number reused, at any time: the inode identifies it.
    """
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            inode = _socket_inode(descriptor)
            if inode is not None and (found := _inspect(descriptor, port)):
                yield descriptor, inode, *found
        except OSError:
            # Closed in between, or not connected.
            continue


def shut_down(descriptor: int, inode: int, how: int) -> None:
    """Shut a connection down, as `socket.shutdown` does, if it is still the one with that inode."""
    # A duplicate stays the same connection, whatever becomes of the number.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
        if os.fstat(duplicate.fileno()).st_ino == inode:
            duplicate.shutdown(how)


def _socket_inode(descriptor: int) -> int | None:
    # Cheaper than asking the socket: most descriptors are no sockets.
    target = os.readlink(f"/proc/self/fd/{descriptor}")
    return int(target[8:-1]) if target.startswith("socket:[") else None


def _inspect(descriptor: int, port: int) -> tuple[str, TCPInfo] | None:
    # The arguments spare three system calls that would find them out. The family only decides how
    # long an address may be: that of IPv6 has room for IPv4 too, but not the other way round.
    borrowed = socket.socket(
        socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor
    )
    try:
        name = borrowed.getsockname()
        if not isinstance(name, tuple) or len(name) < 2 or name[1] != port:
            return None
        peer = str(borrowed.getpeername()[0])
        data = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    finally:
        borrowed.detach()
    return (peer, _parse(data)) if len(data) == _INFO_BYTES else None


def _parse(data: bytes) -> TCPInfo:
    (unacknowledged,) = _UNACKED.unpack_from(data)
    sent_ms, received_ms = _LAST_DATA.unpack_from(data)
    acknowledged_bytes, received_bytes = _BYTES.unpack_from(data)
    (not_sent_bytes,) = _NOT_SENT.unpack_from(data)
    (data_segments_out,) = _DATA_SEGMENTS_OUT.unpack_from(data)
    return TCPInfo(
        received_bytes=received_bytes,
        acknowledged_bytes=acknowledged_bytes,
        received_ms=received_ms,
        sent_ms=sent_ms,
        has_sent=data_segments_out > 0,
        has_unsent=bool(unacknowledged or not_sent_bytes),
    )
