"""What `require` demands of a promotion, and the gate that decides it."""

from collections.abc import Callable, Mapping

import pytest
from django.db import connection

from registry.aliases.recording import AliasMoved
from registry.aliases.validation import MoveRefused, pass_promotion_gate
from registry.hooks import Extension
from registry.models import Alias, ModelVersion
from registry.testing.aliases import arms, set_alias
from registry.testing.aliases import extend_registry as extend_registry
from registry.testing.aliases import versions as versions

Extend = Callable[[Extension], None]


def accept(from_version_id: int, to_version_id: int, require: Mapping[str, object]) -> None:
    pass


@pytest.mark.django_db(transaction=True)
def test_the_gate_compares_the_two_versions_outside_of_the_transaction(
    versions: list[ModelVersion], extend_registry: Extend
) -> None:
    calls: list[tuple[int, int, Mapping[str, object], bool]] = []

    def gate(from_version_id: int, to_version_id: int, require: Mapping[str, object]) -> None:
        calls.append((from_version_id, to_version_id, require, connection.in_atomic_block))

    extend_registry(Extension(promotion_gate=gate))
    set_alias("1")

    set_alias("2", require={"replay": 7})
    set_alias("2", require={"replay": 8})

    assert calls == [(versions[0].pk, versions[1].pk, {"replay": 7}, False)]
    assert arms().version == versions[1]


def test_a_version_that_the_gate_refuses_is_not_promoted(
    versions: list[ModelVersion], extend_registry: Extend
) -> None:
    def refuse(from_version_id: int, to_version_id: int, require: Mapping[str, object]) -> None:
        raise RuntimeError("0.97 of 0.98")

    extend_registry(Extension(promotion_gate=refuse))
    set_alias("1")

    with pytest.raises(RuntimeError):
        set_alias("2", require={}, force=True)

    assert arms().version == versions[0]


@pytest.mark.parametrize("version", ["2", "1"])
def test_a_promotion_is_refused_if_the_alias_has_moved_since_the_comparison(
    versions: list[ModelVersion],
    extend_registry: Extend,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    extend_registry(Extension(promotion_gate=accept))
    set_alias("1")

    def move_afterwards(name: str, alias: str, version: str, require: Mapping[str, object]) -> int:
        compared_id = pass_promotion_gate(name, alias, version, require)
        set_alias("3")
        return compared_id

    monkeypatch.setattr("registry.aliases.moves.pass_promotion_gate", move_afterwards)
    with pytest.raises(AliasMoved, match="Someone else moved"):
        set_alias(version, require={})

    assert arms().version == versions[2]


def test_a_new_alias_has_nothing_to_compare_with(
    versions: list[ModelVersion], extend_registry: Extend
) -> None:
    extend_registry(Extension(promotion_gate=accept))

    with pytest.raises(MoveRefused, match="has no version yet"):
        set_alias("1", require={})


def test_without_a_gate_every_requirement_is_refused(
    versions: list[ModelVersion], extend_registry: Extend
) -> None:
    extend_registry(Extension())
    set_alias("1")

    for version in ("1", "2"):
        with pytest.raises(MoveRefused, match="require is not supported"):
            set_alias(version, require={"replay": 7})

    assert Alias.objects.get().version == versions[0]
