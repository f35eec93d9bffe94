"""Registered models in the admin."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from registry.models import RegisteredModel
from registry.testing.clients import permit


@pytest.mark.parametrize("may_everything", [False, True])
def test_a_user_who_lacks_a_right_may_not_become_the_owner(
    user: User, may_everything: bool
) -> None:
    model = RegisteredModel.objects.create(name="churn")
    user.is_staff, user.is_superuser = True, may_everything
    user.save()
    permit(user, "view_registeredmodel", "change_registeredmodel")
    browser = Client()
    browser.force_login(user)
    url = f"/admin/registry/registeredmodel/{model.pk}/change/"
    grants = {"grants-TOTAL_FORMS": "0", "grants-INITIAL_FORMS": "0"}

    response = browser.post(url, {"owner": user.pk, "contact": "#churn", "tags": "{}", **grants})

    assert response.status_code == 302, response.content
    model.refresh_from_db()
    assert (model.contact, model.owner) == ("#churn", user if may_everything else None)
