"""The guards asked on their own, and why they refuse."""

from functools import cache
from typing import NamedTuple

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from rest_framework_simplejwt.utils import get_md5_hash_password

from predictions.serving.guards.condition import condition, is_open
from registry.access import rights
from registry.access.accessor import Accessor
from registry.database import clock, statements
from registry.models import CHAMPION, ApiKey, ModelNotFound, ModelVersion, Right

# The largest that the database's columns hold.
MAX_ID = 2**63 - 1


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
    if asked.model_id > MAX_ID:
        # The database would refuse it as a number.
        return check_caller(identity) or asked.not_found()
    if statements.fetch(_check_statement(is_open()), [*identity, asked.model_id]):
        return None
    return refusal(identity, asked)


def refusal(identity: Identity, asked: Asked) -> Exception:
    """Why the guards refused a prediction, judging by the state a moment later."""
    if reason := check_caller(identity):
        return reason
    inactive = ModelNotFound(f"Model {asked.model_id} not found or inactive")
    version = ModelVersion.objects.filter(pk=asked.model_id).first()
    if version is None:
        return inactive
    user = User.objects.filter(pk=identity.user_id or 0).first()
    key = ApiKey.objects.filter(pk=identity.api_key_id or 0).first()
    try:
        rights.require(Accessor(user, key), Right.PREDICT, version.name)
    except ModelNotFound:
        return asked.not_found()
    except PermissionDenied as denied:
        return denied
    if not version.is_active:
        return inactive
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
    if key.expires_at is not None and key.expires_at <= clock.now():
        return CallerInactive("The API key has expired")
    if not key.owner.is_active:
        return CallerInactive("User is inactive")
    return None
