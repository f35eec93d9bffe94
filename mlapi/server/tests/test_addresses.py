import os
import socket
import stat
from pathlib import Path

import pytest

from mlapi.server import addresses, run_folder
from mlapi.server.addresses import AddressError, PortInUse
from mlapi.server.board import SLOT_BYTES, Board
from mlapi.server.options import Options, parse
from registry.testing.processes import free_port


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "RELEASE_SECONDS", 0)


def test_name_is_resolved_with_a_preference_for_ipv4() -> None:
    assert addresses.resolve("localhost", 8000)[1:] == ("127.0.0.1", 8000)
    assert str(addresses.resolve("::1", 8000)) == "[::1]:8000"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70, "1.2.3.4.5", "\0"])
def test_unknown_host_is_named(host: str) -> None:
    with pytest.raises(AddressError, match="Unknown host"):
        addresses.resolve(host, 8000)


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(AddressError, match=r"no address 192\.0\.2\.1"):
        addresses.require_free(addresses.resolve("192.0.2.1", free_port()))


def test_port_that_others_share_is_in_use() -> None:
    with socket.socket() as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("127.0.0.1", 0))
        shared.listen()

        with pytest.raises(PortInUse):
            addresses.require_free(addresses.resolve("127.0.0.1", shared.getsockname()[1]))


def test_claimed_address_is_in_use_before_anyone_listens() -> None:
    address = addresses.resolve("127.0.0.1", free_port())
    with addresses.claim(address), pytest.raises(PortInUse), addresses.claim(address):
        pass
    with addresses.claim(address):
        pass


def test_only_abandoned_run_folders_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    unlocked, young = tmp_path / "mlapi-run-old", tmp_path / "mlapi-run-young"
    for folder in (unlocked, young):
        folder.mkdir()
    os.utime(unlocked, (0, 0))
    with run_folder.created() as running:
        os.utime(running, (0, 0))

        with run_folder.created() as other:
            assert set(tmp_path.iterdir()) == {young, running, other}
            assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == [young]


def test_board_tells_what_workers_wrote() -> None:
    board = Board(2)
    board.set_started(1, 4711)
    assert (board.read(1).pid, board.read(1).heartbeat, board.read(1).report) == (4711, 0, b"")
    board.beat(1)
    board.report(1, b'{"ready": true}')
    board.report(1, b"x" * SLOT_BYTES)

    state = board.read(1)

    assert state.report == b'{"ready": true}'
    assert state.silent_seconds < 60
    assert board.read(0).pid == 0


def test_report_that_is_being_written_is_not_read() -> None:
    board = Board(1)
    board.report(0, b"a whole report")
    board._memory[40:41] = b"?"

    assert board.read(0).report == b""


def test_options_survive_the_command_line() -> None:
    options = Options(
        host="::1",
        port=8000,
        workers=2,
        threads=256,
        pin=True,
        with_worker=True,
        health_port=0,
        worker_timeout_seconds=60,
        max_connections=1000,
        check_database=True,
    )

    assert parse(options.arguments()) == options
