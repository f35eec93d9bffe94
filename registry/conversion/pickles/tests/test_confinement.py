"""The confined process: what it cannot do any more."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.conversion.pickles.confinement import Confinement, probe
from registry.testing.processes import python

CONFINED = """
import os, sys
from pathlib import Path
from registry.conversion.pickles.confinement import confine

result = confine(readable=[], writable=[Path(sys.argv[1])] if sys.argv[1:] else [])
assert not result.gaps, result
try:
    {attempt}
except (PermissionError, BlockingIOError, ValueError) as error:
    print("refused", type(error).__name__)
else:
    print("done")
"""


def attempt(code: str) -> str:
    process = python(CONFINED.format(attempt=code))
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def _skip_without_protections() -> None:
    if probe().gaps:
        pytest.skip(f"this system cannot confine a process completely: {probe()}")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0)
        yield server


def test_the_network_is_out_of_reach(listener: socket.socket) -> None:
    port = listener.getsockname()[1]

    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"

    assert attempt(code).startswith("refused")
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    "code",
    [
        "os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))",
        "import socket; socket.socketpair()",
    ],
)
def test_processes_signals_and_limits_are_out_of_reach(code: str) -> None:
    assert attempt(code).startswith("refused")


def test_a_shell_command_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    assert attempt(f"assert os.system('touch {mark}') != 0") == "done"
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        "open({path!r}).read()",
        "open({path!r}, 'w')",
        "os.unlink({path!r})",
        "os.truncate({path!r}, 0)",
        "os.chmod({path!r}, 0o777)",
        "os.utime({path!r})",
        "os.rename({path!r}, {path!r} + '2')",
        "open({path!r} + '2', 'w')",
        "os.mkdir({path!r} + '2')",
        "os.symlink('x', {path!r} + '2')",
        "os.listdir(os.path.dirname({path!r}))",
    ],
)
def test_other_files_are_out_of_reach(code: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")

    assert attempt(code.format(path=str(path))).startswith("refused")
    assert path.read_text() == "content"
    assert os.listdir(tmp_path) == ["file"]


def test_the_environment_of_the_parent_is_out_of_reach() -> None:
    assert attempt("open(f'/proc/{os.getppid()}/environ', 'rb').read()").startswith("refused")


def test_the_project_is_out_of_reach_but_for_its_code() -> None:
    assert attempt("open('manage.py').read()").startswith("refused")
    assert attempt("open('registry/loading/loader.py').read()") == "done"


def test_libraries_can_be_imported_and_start_threads(tmp_path: Path) -> None:
    code = "import threading; t = threading.Thread(target=int); t.start(); t.join(); import sklearn"

    assert attempt(code) == "done"


def test_an_ordinary_user_is_confined_as_well(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    code = """
import ctypes, os, sysconfig
sysconfig.get_paths()
from registry.conversion.pickles.confinement import confine
os.setgid(65534)
os.setuid(65534)
# PR_SET_DUMPABLE: otherwise a process that was root cannot read its own /proc/self.
ctypes.CDLL(None).prctl(4, 1)
print(confine(readable=[], writable=[]).gaps)
"""

    process = python(code)
    assert process.stdout.strip() == "[]", process.stderr


def test_gaps_name_what_is_not_protected() -> None:
    assert Confinement().gaps == [
        "use the network",
        "read and change every file of your user",
        "start processes",
    ]
    partial = Confinement(network=("network namespace",), processes=("seccomp filter",))
    assert partial.gaps == ["read and change every file of your user"]
    assert Confinement.from_json(partial.as_json()) == partial
