"""The guards: under which condition the recording statement writes a prediction.

They are a part of that statement, so they cost no query of their own, and see everything that was
committed before it began: no request sent after a deactivation, a revocation or the loss of a
right was confirmed gets a 201. For requests that fail before they are recorded, and for earlier
answers that are repeated, `check` asks the same condition on its own.
"""

from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone
from rest_framework_simplejwt.utils import get_md5_hash_password

from registry import statements
from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import (
    CHAMPION,
    ApiKey,
    Grant,
    ModelNotFound,
    ModelVersion,
    RegisteredModel,
    Right,
)

VERSIONS = ModelVersion._meta.db_table
MODELS = RegisteredModel._meta.db_table
GRANTS = Grant._meta.db_table
KEYS = ApiKey._meta.db_table
MODELS_OF_KEYS = ApiKey.registered_models.through._meta.db_table
USERS = get_user_model()._meta.db_table
GROUPS_OF_USERS = User.groups.through._meta.db_table
PERMISSIONS = Permission._meta.db_table
PERMISSIONS_OF_USERS = User.user_permissions.through._meta.db_table
PERMISSIONS_OF_GROUPS = Group.permissions.through._meta.db_table
CONTENT_TYPES = ContentType._meta.db_table


class CallerInactive(Exception):
    """The caller's user is inactive, or the token or API key is no longer valid; the message is for
    the caller.
    """


class Identity(NamedTuple):
    """What a request's token or API key says of its caller; without a user, a command.

    `password_md5` is what an access token claims about the password it was issued under.
    """

    user_id: int | None = None
    password_md5: str | None = None
    api_key_id: int | None = None


class Asked(NamedTuple):
    """The version that a request is about, and the specifier that it sent, if not the ID."""

    model_id: int
    specifier: str | None = None

    def not_found(self) -> ModelNotFound:
        """The error for a model that the caller may not know of: as if there were none."""
        if self.specifier is None:
            return ModelNotFound(f"Model {self.model_id} not found or inactive")
        if ":" in self.specifier:
            return ModelNotFound(f"Model {self.specifier} not found or inactive")
        name, _, alias = self.specifier.partition("@")
        return ModelNotFound(f"Model {name}@{alias or CHAMPION} not found: no such alias")


# -- the condition ---------------------------------------------------------------------------------


def condition(
    versions: str, users: str, keys: str, *, is_open: bool, now: str | None = None
) -> str:
    """SQL for whether a row of `incoming` may be written.

    `incoming` has user_id, password_md5, api_key_id, model_id and primary_id. The first three
    arguments narrow the IDs to look up; `is_open` tells whether everybody may request predictions
    of models that are not private. The subqueries are not correlated when the arguments are not:
    they run once per statement, and those after an OR only if a row needs them.

    A shadow copies a prediction that was answered already, so only its user is checked.
    """
    open_models = f"incoming.model_id IN ({_open_models(versions)}) OR" if is_open else ""
    return f"""
        incoming.model_id IN (SELECT id FROM {VERSIONS} WHERE is_active AND id {versions})
        AND (incoming.user_id IS NULL OR (
            (incoming.user_id, incoming.password_md5) IN (
                SELECT id, upper(md5(password)) FROM {USERS} WHERE is_active AND id {users}
            )
            OR (incoming.user_id, incoming.api_key_id, incoming.model_id)
                IN ({_valid_keys(versions, keys, now or _now())})
            OR (
                incoming.password_md5 IS NULL AND incoming.api_key_id IS NULL
                OR incoming.primary_id IS NOT NULL
            ) AND incoming.user_id IN (SELECT id FROM {USERS} WHERE is_active AND id {users})
        ) AND (
            incoming.primary_id IS NOT NULL OR {open_models}
            (incoming.user_id, incoming.model_id) IN ({_rights(versions, users)})
        ))
    """  # noqa: S608 -- names of our own tables


def _now() -> str:
    if connection.vendor == "sqlite":
        # Django stores times as text in this format.
        return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    return "statement_timestamp()"


def _open_models(versions: str) -> str:
    return f"""
        SELECT version.id FROM {VERSIONS} version JOIN {MODELS} model ON model.name = version.name
        WHERE NOT model.is_private AND version.id {versions}
    """  # noqa: S608 -- names of our own tables


def _valid_keys(versions: str, keys: str, now: str) -> str:
    return f"""
        SELECT stored.owner_id, stored.id, version.id
        FROM {KEYS} stored
            JOIN {USERS} owner ON owner.id = stored.owner_id AND owner.is_active
            JOIN {VERSIONS} version ON version.id {versions}
        WHERE stored.id {keys} AND stored.predict AND stored.revoked_at IS NULL
            AND (stored.expires_at IS NULL OR stored.expires_at > {now})
            AND (stored.all_models OR EXISTS (
                SELECT 1 FROM {MODELS_OF_KEYS} chosen
                    JOIN {MODELS} model ON model.id = chosen.registeredmodel_id
                WHERE chosen.apikey_id = stored.id AND model.name = version.name
            ))
    """  # noqa: S608 -- names of our own tables


def _rights(versions: str, users: str) -> str:
    """Pairs of users and versions; as `registry.access.rights` decides it."""
    app, codename = rights.PERMISSIONS[Right.PREDICT].split(".")
    groups = f"SELECT group_id FROM {GROUPS_OF_USERS} WHERE user_id = caller.id"  # noqa: S608
    return f"""
        SELECT caller.id, version.id
        FROM {USERS} caller
            JOIN {VERSIONS} version ON version.id {versions}
            JOIN {MODELS} model ON model.name = version.name
        WHERE caller.id {users} AND (
            caller.is_superuser
            OR model.owner_id = caller.id
            OR EXISTS (
                SELECT 1 FROM {GRANTS} held
                WHERE held.registered_model_id = model.id AND held.predict
                    AND (held.user_id = caller.id OR held.group_id IN ({groups}))
            )
            OR EXISTS (
                SELECT 1 FROM {PERMISSIONS} permission
                    JOIN {CONTENT_TYPES} type ON type.id = permission.content_type_id
                WHERE type.app_label = '{app}' AND permission.codename = '{codename}' AND (
                    permission.id IN (
                        SELECT permission_id FROM {PERMISSIONS_OF_USERS} WHERE user_id = caller.id
                    )
                    OR permission.id IN (
                        SELECT permission_id FROM {PERMISSIONS_OF_GROUPS}
                        WHERE group_id IN ({groups})
                    )
                )
            )
        )
    """  # noqa: S608 -- names of our own tables


def is_open() -> bool:
    """Whether everybody may request predictions of models that are not private."""
    return Right.PREDICT in settings.DEFAULT_RIGHTS


# -- asked on its own ------------------------------------------------------------------------------


@cache
def _check_statement(is_open: bool) -> str:
    same = (f"= incoming.{name}" for name in ("model_id", "user_id", "api_key_id"))
    return f"""
        WITH incoming AS (
            SELECT CAST(%s AS bigint) AS user_id, CAST(%s AS text) AS password_md5,
                CAST(%s AS bigint) AS api_key_id, CAST(%s AS bigint) AS model_id,
                CAST(NULL AS bigint) AS primary_id
        )
        SELECT 1 FROM incoming WHERE {condition(*same, is_open=is_open)}
    """  # noqa: S608 -- names of our own tables


def check(identity: Identity, asked: Asked) -> Exception | None:
    """Why the guards would refuse a prediction now: an exception to raise, or None.

    One query, or a few more for the reason.
    """
    if statements.fetch(_check_statement(is_open()), [*identity, asked.model_id]):
        return None
    return refusal(identity, asked)


def refusal(identity: Identity, asked: Asked) -> Exception:
    """Why the guards refused a prediction, judging by the state a moment later."""
    if reason := check_caller(identity):
        return reason
    version = ModelVersion.objects.active().filter(pk=asked.model_id).first()
    if version is None:
        return ModelNotFound(f"Model {asked.model_id} not found or inactive")
    user = User.objects.filter(pk=identity.user_id or 0).first()
    key = ApiKey.objects.filter(pk=identity.api_key_id or 0).first()
    try:
        rights.require(Accessor(user, key), Right.PREDICT, version.name)
    except ModelNotFound:
        return asked.not_found()
    except PermissionDenied as denied:
        return denied
    return CallerInactive("User is inactive, or the token was revoked")


def check_scope(identity: Identity, name: str) -> None:
    """Raise ModelNotFound or PermissionDenied unless an API key may request predictions of a model;
    nothing if the caller has none.
    """
    if identity.api_key_id is not None:
        key = ApiKey.objects.select_related("owner").get(pk=identity.api_key_id)
        rights.require(Accessor(key.owner, key), Right.PREDICT, name)


def check_caller(identity: Identity) -> CallerInactive | None:
    """Why a caller may ask nothing at all now, or None."""
    if identity.user_id is None:
        return None
    if identity.api_key_id is not None:
        key = ApiKey.objects.select_related("owner").filter(pk=identity.api_key_id).first()
        return key_refusal(key)
    users = User.objects.filter(pk=identity.user_id, is_active=True)
    password = users.values_list("password", flat=True).first()
    claimed = identity.password_md5
    if password is None or (claimed is not None and get_md5_hash_password(password) != claimed):
        return CallerInactive("User is inactive, or the token was revoked")
    return None


def key_refusal(key: ApiKey | None) -> CallerInactive | None:
    """Why a key, read with its owner, is not valid now, or None."""
    if key is None or key.revoked_at is not None:
        return CallerInactive("The API key was revoked")
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return CallerInactive("The API key has expired")
    if not key.owner.is_active:
        return CallerInactive("User is inactive")
    return None
