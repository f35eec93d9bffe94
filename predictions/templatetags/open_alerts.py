"""The open alerts on the first pages of the admin."""

from typing import Any

from django import template
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

from predictions.models import Alert

register = template.Library()

MAX_SHOWN = 10


@register.inclusion_tag("admin/predictions/open_alerts.html", takes_context=True)
def open_alerts(context: template.Context) -> dict[str, Any]:
    """The open alerts, severe ones first; none for a user who may not view alerts."""
    user: AbstractBaseUser | AnonymousUser = context["user"]
    if not isinstance(user, PermissionsMixin) or not user.has_perm("predictions.view_alert"):
        return {"alerts": []}
    alerts = Alert.objects.all().open().select_related("model", "monitor").severe_first()
    shown = list(alerts[: MAX_SHOWN + 1])
    return {"alerts": shown[:MAX_SHOWN], "has_more": len(shown) > MAX_SHOWN}
