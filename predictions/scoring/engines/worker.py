"""A worker of the local engine: `python -m predictions.scoring.engines.worker DESCRIPTOR`.

It does the orders that come on its socket, one a line, and ends when the other end is closed. No
Django here.
"""

import os
import queue
import socket
import sys
import threading
from typing import BinaryIO

import orjson

from predictions.scoring.engines.base import reply_to


def main(descriptor: int) -> None:
    connection = socket.socket(fileno=descriptor)
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    reader = connection.makefile("rb")
    threading.Thread(target=_receive, args=[reader, orders], daemon=True).start()
    while True:
        reply = reply_to(orjson.loads(orders.get()))
        try:
            connection.sendall(orjson.dumps(reply, option=orjson.OPT_APPEND_NEWLINE))
        except OSError:
            os._exit(1)


def _receive(reader: BinaryIO, orders: "queue.SimpleQueue[bytes]") -> None:
    """Pass orders on, and end this process, whatever it is doing, when its driver is gone."""
    try:
        for line in reader:
            orders.put(line)
    finally:
        # What it was writing is not published, and will be done again.
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
