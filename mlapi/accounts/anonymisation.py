"""Users that other records name: what these are, and how a user is made unrecognisable instead of
deleted.

Predictions, outcomes, replays, versions and alias moves say who made them, and are kept complete.
"""

import secrets
from collections.abc import Iterator

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.db.models import ManyToOneRel

# A user may have made millions of predictions; nobody needs to know how many exactly.
MAX_COUNTED = 1000


def describe_references(user: User) -> str:
    """What names this user and would be lost, such as `12 predictions, 1 replay`; may be empty."""
    return ", ".join(_references(user))


def _references(user: User) -> Iterator[str]:
    # Hidden relations too: none of these has a name on the side of the user.
    for relation in User._meta.get_fields(include_hidden=True):
        if not isinstance(relation, ManyToOneRel) or relation.on_delete is models.CASCADE:
            continue
        model = relation.related_model
        assert not isinstance(model, str)
        rows = model._base_manager.filter(**{relation.field.name: user}).order_by()
        count = rows[: MAX_COUNTED + 1].count()
        if count > MAX_COUNTED:
            yield f"more than {MAX_COUNTED} {model._meta.verbose_name_plural}"
        elif count:
            names = model._meta.verbose_name_plural if count > 1 else model._meta.verbose_name
            yield f"{count} {names}"


@transaction.atomic
def anonymise(user_id: int) -> User:
    """Remove everything that identifies a user, and every way to log in; cannot be undone.

    Tokens and sessions end at once, since the user is inactive. What the user made stays, with the
    same user ID. Raises User.DoesNotExist.
    """
    user = User.objects.select_for_update().get(pk=user_id)
    former_name = user.get_username()
    user.username = _free_name(user)
    user.first_name = user.last_name = user.email = ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.last_login = None
    user.set_unusable_password()
    user.save()
    user.groups.clear()
    user.user_permissions.clear()
    # The history of the user's own page shows the name as it was at each change.
    LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(User), object_id=str(user.pk)
    ).update(object_repr=user.username)
    for attempts in (AccessAttempt, AccessFailureLog, AccessLog):
        attempts.objects.filter(username=former_name).delete()
    return user


def _free_name(user: User) -> str:
    name = f"anonymised-{user.pk}"
    while User.objects.exclude(pk=user.pk).filter(username=name).exists():
        name = f"anonymised-{user.pk}-{secrets.token_hex(4)}"
    return name
