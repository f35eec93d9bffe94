"""Load by wrk: one thread, a number of kept connections, a body that changes with each request."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GRACE_SECONDS = 30

HOW_TO_GET_WRK = """wrk is not on PATH. It is a small HTTP load generator (github.com/wg/wrk):
  Debian, Ubuntu:  apt install wrk
  Fedora:          dnf install wrk
  macOS:           brew install wrk"""

# Requests are put together before the clock starts: wrk shares two cores with the server.
SCRIPT = """
local requests, position = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, HEADERS, line)
  end
  -- Threads would otherwise all begin with the same row.
  position = math.random(#requests)
end

function request()
  position = position %% #requests + 1
  return requests[position]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n@{"answers": %%d, "microseconds": %%d, "p50_us": %%d, "p99_us": %%d, "max_us": %%d, ' ..
    '"refused": %%d, "broken": %%d, "late": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    latency.max, errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end

HEADERS = {%s}
"""


class WrkMissing(Exception):
    """There is no wrk; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: a URL, headers, and the JSON bodies to take turns."""

    url: str
    headers: Mapping[str, str]
    bodies: Sequence[str]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run gave. `refused` counts answers of 400 and more, `broken` lost connections."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int
    broken: int
    late: int

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds

    @property
    def has_failed(self) -> bool:
        return bool(self.refused or self.broken or self.late) or not self.answers

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "per_second": self.per_second, "has_failed": self.has_failed}


def require_wrk() -> str:
    """Its path; raises WrkMissing."""
    path = shutil.which("wrk")
    if path is None:
        raise WrkMissing(HOW_TO_GET_WRK)
    return path


def run(target: Target, *, connections: int, seconds: int) -> Figures:
    """Load the target for so long; raises RuntimeError where wrk itself fails.

    wrk counts no redirect as an error: callers have looked at one answer before.
    """
    with tempfile.TemporaryDirectory(prefix="mlapi-benchmark-") as name:
        script, bodies = Path(name, "post.lua"), Path(name, "bodies")
        script.write_text(lua(target.headers))
        bodies.write_text("".join(f"{body}\n" for body in target.bodies))
        command = [require_wrk(), "--threads", "1", "--connections", str(connections)]
        command += ["--duration", f"{seconds}s", "--timeout", "10s", "--script", str(script)]
        done = subprocess.run(  # noqa: S603
            [*command, target.url, "--", str(bodies)],
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_SECONDS,
        )
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def lua(headers: Mapping[str, str]) -> str:
    """The script for these headers; JSON's strings are Lua's, as long as they are ASCII."""
    fields = {"Content-Type": "application/json", **headers}
    return SCRIPT % ", ".join(f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in fields.items())


def parse(output: str) -> Figures:
    """The figures in what the script printed last; raises ValueError where there are none."""
    lines = [line for line in output.splitlines() if line.startswith("@{")]
    if not lines:
        raise ValueError(f"No figures in wrk's output: {output[-300:]}")
    found = json.loads(lines[-1][1:])
    return Figures(
        answers=found["answers"],
        seconds=found["microseconds"] / 1e6,
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        max_ms=found["max_us"] / 1000,
        refused=found["refused"],
        broken=found["broken"],
        late=found["late"],
    )
