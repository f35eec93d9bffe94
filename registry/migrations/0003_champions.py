"""Make each name's oldest usable version its champion, as registration does from now on."""

import secrets
from collections.abc import Iterable
from typing import Any

from django.db import migrations
from django.utils import timezone

CHAMPION = "champion"
REASON = "The first active version with an artifact, when aliases came"
CHUNK_ROWS = 500


def make_champions(apps: Any, schema_editor: Any) -> None:
    alias_model = apps.get_model("registry", "Alias")
    move_model = apps.get_model("registry", "AliasMove")
    taken = set(move_model.objects.filter(alias=CHAMPION).values_list("name", flat=True))
    now = timezone.now()
    aliases, moves = [], []
    for name, pk, version in first_versions(apps):
        if name in taken:
            continue
        taken.add(name)
        aliases.append(
            alias_model(
                name=name,
                alias=CHAMPION,
                version_id=pk,
                salt=secrets.token_hex(8),
                created_at=now,
                updated_at=now,
            )
        )
        moves.append(
            move_model(
                name=name,
                alias=CHAMPION,
                number=1,
                action="automatic",
                to_version_id=pk,
                to_version=version,
                shadows=[],
                reason=REASON,
                created_at=now,
            )
        )
    alias_model.objects.bulk_create(aliases, batch_size=CHUNK_ROWS)
    move_model.objects.bulk_create(moves, batch_size=CHUNK_ROWS)


def first_versions(apps: Any) -> Iterable[tuple[str, int, str]]:
    """Name, id and version of all usable versions, oldest first within a name."""
    rows = apps.get_model("registry", "ModelVersion").objects.filter(is_active=True)
    rows = rows.exclude(artifact="").order_by("name", "created_at", "id")
    found: Iterable[tuple[str, int, str]] = rows.values_list("name", "pk", "version").iterator()
    return found


class Migration(migrations.Migration):
    dependencies = [("registry", "0002_aliases")]

    # There is nothing to reverse: undoing 0002 drops the aliases with their tables.
    operations = [migrations.RunPython(make_champions, migrations.RunPython.noop)]
