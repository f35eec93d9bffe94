"""Rights on registered models, and what an API key leaves of them."""

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied

from registry.access import rights
from registry.access.accessor import SYSTEM, Accessor
from registry.models import ApiKey, Grant, ModelNotFound, RegisteredModel, Right

pytestmark = pytest.mark.django_db
DEFAULTS = {Right.PREDICT, Right.REPORT_OUTCOMES}
ALL = set(Right)


@pytest.fixture
def shown() -> RegisteredModel:
    return RegisteredModel.objects.create(name="shown")


@pytest.fixture
def hidden() -> RegisteredModel:
    return RegisteredModel.objects.create(name="hidden", is_private=True)


@pytest.fixture
def superuser() -> User:
    return User.objects.create_superuser("root")


def held(accessor: Accessor, model: RegisteredModel) -> set[Right]:
    return {right for right in Right if model in rights.models_with(accessor, right)}


def test_every_user_has_the_default_rights_where_a_model_is_not_private(
    user: User, shown: RegisteredModel, hidden: RegisteredModel, settings: LazySettings
) -> None:
    accessor = Accessor(user)

    assert held(accessor, shown) == DEFAULTS
    assert held(accessor, hidden) == set()
    settings.DEFAULT_RIGHTS = frozenset()
    assert held(accessor, shown) == set()


def test_owners_superusers_and_commands_have_every_right(
    user: User, superuser: User, shown: RegisteredModel, hidden: RegisteredModel
) -> None:
    RegisteredModel.objects.update(owner=user)

    for accessor in (Accessor(user), Accessor(superuser), SYSTEM):
        assert held(accessor, RegisteredModel.objects.get(name="hidden")) == ALL


def test_a_grant_to_a_user_or_to_a_group_adds_its_rights(
    user: User, shown: RegisteredModel, hidden: RegisteredModel
) -> None:
    group = Group.objects.create(name="risk")
    user.groups.add(group)
    Grant.objects.create(registered_model=hidden, user=user, predict=True)
    Grant.objects.create(registered_model=hidden, group=group, read_log=True)

    assert held(Accessor(user), hidden) == {Right.PREDICT, Right.READ_LOG}
    assert held(Accessor(user), shown) == DEFAULTS


def test_djangos_permission_is_a_right_on_every_model(user: User, hidden: RegisteredModel) -> None:
    user.user_permissions.add(Permission.objects.get(codename="view_prediction"))

    assert held(Accessor(User.objects.get(pk=user.pk)), hidden) == {Right.READ_LOG}


def test_a_key_leaves_of_the_rights_of_its_owner_its_scopes_on_its_models(
    superuser: User, shown: RegisteredModel, hidden: RegisteredModel
) -> None:
    key = ApiKey.objects.create(name="k", owner=superuser, predict=True, all_models=False)
    key.registered_models.add(hidden)

    assert held(Accessor(superuser, key), hidden) == {Right.PREDICT}
    assert held(Accessor(superuser, key), shown) == set()
    assert list(rights.visible_models(Accessor(superuser, key))) == [hidden]


def test_a_right_that_is_required_is_404_on_a_hidden_model_and_403_on_a_visible_one(
    user: User, shown: RegisteredModel, hidden: RegisteredModel
) -> None:
    accessor = Accessor(user)

    rights.require(accessor, Right.PREDICT, "shown")
    with pytest.raises(PermissionDenied):
        rights.require(accessor, Right.READ_LOG, "shown")
    for name in ("hidden", "absent"):
        with pytest.raises(ModelNotFound, match=f"Model {name} not found"):
            rights.require(accessor, Right.PREDICT, name)
