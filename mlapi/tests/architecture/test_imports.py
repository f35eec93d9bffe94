"""Imports follow the plan: down the floors, and between rooms only as ROOMS allows."""

from collections.abc import Iterator

import pytest

from mlapi.tests.architecture.benchmark_rooms import MEASURED_DIRECTLY
from mlapi.tests.architecture.rooms import FLOORS, ROOMS, TEST_ROOMS
from mlapi.tests.architecture.sources import Source, is_test_module, room_of, sources


def test_every_folder_is_in_a_room() -> None:
    """A new folder needs an entry in ROOMS; tests and data belong to the room around them."""
    packages = {source.module for source in sources() if source.path.name == "__init__.py"}
    ignored = {"tests", "data", "commands"}
    folders = {name for name in packages if ignored.isdisjoint(name.split("."))}

    assert folders == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_the_plan_allows(room: str) -> None:
    members = [source for source in sources() if source.room == room and not source.is_test]

    forbidden = {
        f"{source.module} imports {module}"
        for source in members
        for module in source.imports
        if not is_allowed(room, module)
    }

    assert members or room in TEST_ROOMS
    assert sorted(forbidden) == []


def is_allowed(room: str, module: str) -> bool:
    return not {room_of(module), module}.isdisjoint({room} | ROOMS[room])


@pytest.mark.parametrize("floor", [*FLOORS, "benchmarks"])
def test_floor_imports_nothing_from_above(floor: str) -> None:
    """Including tests."""
    allowed = set(FLOORS[: FLOORS.index(floor) + 1]) if floor in FLOORS else {floor}

    upwards = {
        f"{source.module} imports {module}"
        for source in members_of(floor)
        for module in source.imports
        if module.partition(".")[0] not in allowed
        and not (floor == "benchmarks" and room_of(module) in MEASURED_DIRECTLY)
    }

    assert sorted(upwards) == []


def members_of(package: str) -> Iterator[Source]:
    return (source for source in sources() if source.module.partition(".")[0] == package)


def test_only_tests_import_test_modules() -> None:
    forbidden = {
        f"{source.module} imports {module}"
        for source in sources()
        for module in source.imports
        if is_test_module(module) and not may_import_test_module(source, module)
    }

    assert sorted(forbidden) == []


def may_import_test_module(source: Source, module: str) -> bool:
    """Tests use the shared fixtures, a conftest.py above them and modules of their own folder."""
    if not source.is_test:
        return False
    if room_of(module) in TEST_ROOMS:
        return True
    folder = module.rpartition(".")[0]
    return source.module.startswith(f"{folder}.")
