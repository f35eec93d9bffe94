"""Run as a program: a receiver of webhooks that writes each message to a file before it answers.

Arguments: the port of loopback and the file, to which a line of JSON is added for each message.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RESPONSE_SECONDS = 0.01


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with open(sys.argv[2], "a") as file:
            file.write(json.dumps({"headers": headers, "body": body}) + "\n")
        time.sleep(RESPONSE_SECONDS)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
