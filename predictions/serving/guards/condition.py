"""The SQL of the guards."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from registry.access import rights
from registry.models import ApiKey, Grant, ModelVersion, RegisteredModel, Right

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


def condition(versions: str, users: str, keys: str, *, is_open: bool) -> str:
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
        AND (incoming.user_id IS NULL OR ({_valid_caller(versions, users, keys)}) AND (
            incoming.primary_id IS NOT NULL OR {open_models}
            (incoming.user_id, incoming.model_id) IN ({_rights(versions, users)})
        ))
    """  # noqa: S608 -- names of our own tables


def usual_condition(versions: str, users: str, keys: str | None) -> str:
    """SQL that implies `condition` where it is open: a valid caller, and a model for everybody.

    Without `keys` it holds for no row with an API key. Most rows need no more, and PostgreSQL may
    plan a statement at each execution: planning the rest took longer than the whole insert.
    """
    return f"""
        incoming.model_id IN ({_open_models(versions)} AND version.is_active)
        AND (incoming.user_id IS NULL OR {_valid_caller(versions, users, keys)})
    """


def _valid_caller(versions: str, users: str, keys: str | None) -> str:
    valid_key = ""
    if keys is not None:
        valid_key = f"""
            OR (incoming.user_id, incoming.api_key_id, incoming.model_id)
                IN ({_valid_keys(versions, keys)})
        """
    return f"""
        (incoming.user_id, incoming.password_md5) IN (
            SELECT id, upper(md5(password)) FROM {USERS} WHERE is_active AND id {users}
        )
        {valid_key}
        OR (
            incoming.password_md5 IS NULL AND incoming.api_key_id IS NULL
            OR incoming.primary_id IS NOT NULL
        ) AND incoming.user_id IN (SELECT id FROM {USERS} WHERE is_active AND id {users})
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


def _valid_keys(versions: str, keys: str) -> str:
    return f"""
        SELECT stored.owner_id, stored.id, version.id
        FROM {KEYS} stored
            JOIN {USERS} owner ON owner.id = stored.owner_id AND owner.is_active
            JOIN {VERSIONS} version ON version.id {versions}
        WHERE stored.id {keys} AND stored.predict AND stored.revoked_at IS NULL
            AND (stored.expires_at IS NULL OR stored.expires_at > {_now()})
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
