"""Load by wrk: one thread, kept-alive connections, a different body for each request."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

GRACE_SECONDS = 30

HOW_TO_GET_WRK = """wrk is not on PATH. It is a small HTTP load generator (github.com/wg/wrk):
  Debian, Ubuntu:  apt install wrk
  Fedora:          dnf install wrk
  macOS:           brew install wrk"""

# Requests are built before the clock starts: wrk shares two cores with the server.
SCRIPT = """
local requests, position = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, HEADERS, line)
  end
  -- Otherwise all threads would begin with the same row.
  position = math.random(#requests)
end

function request()
  position = position %% #requests + 1
  return requests[position]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n@{"responses": %%d, "microseconds": %%d, "p50_us": %%d, "p99_us": %%d, ' ..
    '"max_us": %%d, "refused": %%d, "broken": %%d, "late": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    latency.max, errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end

HEADERS = {%s}
"""


class WrkMissing(Exception):
    """wrk is not installed; the message says how to install it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and what to post: a URL, headers, and JSON bodies, sent in turn."""

    url: str
    headers: Mapping[str, str]
    bodies: Sequence[str]


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of one run.

    `refused` counts error statuses, `broken` lost connections, `late` timeouts.
    """

    responses: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int
    broken: int
    late: int

    @property
    def per_second(self) -> float:
        return self.responses / self.seconds

    @property
    def has_failed(self) -> bool:
        return bool(self.refused or self.broken or self.late) or not self.responses

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "per_second": self.per_second, "has_failed": self.has_failed}


def require_wrk() -> str:
    """The path of wrk; raises WrkMissing."""
    path = shutil.which("wrk")
    if path is None:
        raise WrkMissing(HOW_TO_GET_WRK)
    return path


def run(target: Target, *, connections: int, seconds: int) -> Figures:
    """Load the target for a number of seconds; raises RuntimeError if wrk itself fails.

    wrk does not count a redirect as an error: callers check one response first.
    """
    with tempfile.TemporaryDirectory(prefix="mlapi-benchmark-") as name:
        script, bodies = Path(name, "post.lua"), Path(name, "bodies")
        script.write_text(lua_script(target.headers))
        bodies.write_text("".join(f"{body}\n" for body in target.bodies))
        command = [require_wrk(), "--threads", "1", "--connections", str(connections)]
        command += ["--duration", f"{seconds}s", "--timeout", "10s", "--script", str(script)]
        completed = subprocess.run(  # noqa: S603
            [*command, target.url, "--", str(bodies)],
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_SECONDS,
            check=False,
        )
    if completed.returncode:
        raise RuntimeError(f"wrk failed: {completed.stderr.strip() or completed.stdout.strip()}")
    return parse(completed.stdout)


def lua_script(headers: Mapping[str, str]) -> str:
    """The script that sends these headers. ASCII strings are written alike in JSON and Lua."""
    fields = {"Content-Type": "application/json", **headers}
    return SCRIPT % ", ".join(f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in fields.items())


def parse(output: str) -> Figures:
    """The figures in the script's last line of output; raises ValueError if it has none."""
    lines = [line for line in output.splitlines() if line.startswith("@{")]
    if not lines:
        raise ValueError(f"No figures in wrk's output: {output[-300:]}")
    printed = json.loads(lines[-1][1:])
    return Figures(
        responses=printed["responses"],
        seconds=printed["microseconds"] / 1e6,
        p50_ms=printed["p50_us"] / 1000,
        p99_ms=printed["p99_us"] / 1000,
        max_ms=printed["max_us"] / 1000,
        refused=printed["refused"],
        broken=printed["broken"],
        late=printed["late"],
    )
