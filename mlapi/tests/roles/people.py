"""Every kind of caller, and the rights that each must have, written out by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field

from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from registry.access.keys.changes import create_key, revoke_key
from registry.models import ApiKey, Grant, RegisteredModel, Right
from registry.testing.clients import api_client

ALL = frozenset(Right)
NONE: frozenset[Right] = frozenset()
# Of everybody who is signed in, on models that are not private.
DEFAULTS = frozenset({Right.PREDICT, Right.REPORT_OUTCOMES})


@dataclass(frozen=True)
class Role:
    """A kind of caller. `on_hidden` is None if the private model does not exist for them."""

    on_shown: frozenset[Right] = DEFAULTS
    on_hidden: frozenset[Right] | None = None
    is_signed_in: bool = True
    is_key: bool = False
    # What the key itself may do; its owner may have fewer rights.
    scopes: frozenset[Right] = ALL
    # Whether the rights are on all models, those of the future included.
    is_everywhere: bool = False
    # Whether Django's permissions allow everything, keys of others and webhooks included.
    is_administrator: bool = False
    make: Callable[["People"], APIClient] = field(default=lambda people: people.as_user())


@dataclass
class People:
    """Makes the caller: a user `ada`, with what the role adds to them."""

    shown: RegisteredModel
    hidden: RegisteredModel
    user: User

    def as_user(self) -> APIClient:
        return api_client(User.objects.get(pk=self.user.pk))

    def granted(self, right: Right) -> APIClient:
        for model in (self.shown, self.hidden):
            Grant.objects.create(registered_model=model, user=self.user, **{right.value: True})
        return self.as_user()

    def in_group(self) -> APIClient:
        group = Group.objects.create(name="risk")
        self.user.groups.add(group)
        Grant.objects.create(registered_model=self.hidden, group=group, read_log=True)
        return self.as_user()

    def owner(self) -> APIClient:
        RegisteredModel.objects.update(owner=self.user)
        return self.as_user()

    def permitted(self, *codenames: str) -> APIClient:
        permissions = Permission.objects.filter(
            content_type__app_label__in=["registry", "predictions"]
        )
        if codenames:
            permissions = permissions.filter(codename__in=codenames)
        self.user.user_permissions.set(permissions)
        self.user.is_staff = not codenames
        self.user.save()
        return self.as_user()

    def superuser(self) -> APIClient:
        User.objects.filter(pk=self.user.pk).update(is_superuser=True)
        return self.as_user()

    def key(self, *scopes: Right, model: RegisteredModel | None = None) -> APIClient:
        """A superuser's key."""
        self.superuser()
        return self.own_key(*scopes, model=model)

    def own_key(self, *scopes: Right, model: RegisteredModel | None = None) -> APIClient:
        models = None if model is None else [model]
        _, value = create_key(name="robot", owner=self.user, scopes=scopes, models=models)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {value}")
        return client

    def revoked_key(self) -> APIClient:
        client = self.key(*Right)
        for key in ApiKey.objects.filter(name="robot"):
            revoke_key(key_id=key.pk)
        return client

    def expired_key(self) -> APIClient:
        client = self.key(*Right)
        ApiKey.objects.filter(name="robot").update(expires_at=timezone.now())
        return client

    def deactivated(self) -> APIClient:
        client = self.superuser()
        User.objects.filter(pk=self.user.pk).update(is_active=False)
        return client


def _granted(right: Right) -> Role:
    return Role(DEFAULTS | {right}, frozenset({right}), make=lambda people: people.granted(right))


def _scoped(right: Right) -> Role:
    only = frozenset({right})
    return Role(
        only,
        only,
        is_key=True,
        scopes=only,
        is_everywhere=True,
        make=lambda people: people.key(right),
    )


def _administrator(make: Callable[["People"], APIClient]) -> Role:
    return Role(ALL, ALL, is_everywhere=True, is_administrator=True, make=make)


ROLES = {
    "anonymous": Role(is_signed_in=False, make=lambda people: APIClient()),
    "deactivated": Role(is_signed_in=False, make=lambda people: people.deactivated()),
    "plain": Role(),
    **{f"granted {right}": _granted(right) for right in Right},
    "group member": Role(on_hidden=frozenset({Right.READ_LOG}), make=lambda p: p.in_group()),
    "owner": Role(ALL, ALL, make=lambda people: people.owner()),
    "reader": Role(
        DEFAULTS | {Right.READ_LOG},
        frozenset({Right.READ_LOG}),
        make=lambda people: people.permitted("view_prediction"),
    ),
    "staff": _administrator(lambda people: people.permitted()),
    "superuser": _administrator(lambda people: people.superuser()),
    **{f"key for {right}": _scoped(right) for right in Right},
    "key for one model": Role(
        ALL, None, is_key=True, make=lambda people: people.key(*Right, model=people.shown)
    ),
    "revoked key": Role(is_signed_in=False, make=lambda people: people.revoked_key()),
    "expired key": Role(is_signed_in=False, make=lambda people: people.expired_key()),
    # It cannot do more than its owner.
    "key of a plain user": Role(is_key=True, make=lambda people: people.own_key(*Right)),
}
