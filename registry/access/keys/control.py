"""Who may hold the keys of another user."""

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from registry.access.accessor import Accessor


def require_control(accessor: Accessor, owner: User, permission: str) -> None:
    """Raise PermissionDenied unless the accessor may have keys of this owner, which give the
    owner's rights to those who hold them.
    """
    user = accessor.user
    if user is None or user == owner or user.is_superuser:
        return
    if not user.has_perm(permission):
        raise PermissionDenied("You may not make or rotate the API keys of others.")
    if owner.is_superuser:
        raise PermissionDenied("Only superusers may make or rotate the API keys of a superuser.")
