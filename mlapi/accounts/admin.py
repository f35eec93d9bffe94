"""The user admin: users that other records refer to are deactivated or anonymised, not deleted."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from mlapi.accounts.anonymisation import anonymise, describe_references
from registry.access import audit
from registry.access.accessor import Accessor
from registry.models import AuditEvent

if TYPE_CHECKING:
    # Generic in the stubs alone.
    _ModelAdmin = admin.ModelAdmin[Any]
    _UserAdmin = UserAdmin[User]
    _GroupAdmin = GroupAdmin
else:
    # Django's own classes come after it.
    _ModelAdmin, _UserAdmin, _GroupAdmin = object, UserAdmin, GroupAdmin

# What ModelAdmin.get_deleted_objects returns: objects, counts by model, permissions that are
# missing, and descriptions of what prevents the deletion.
Deletion = tuple[list[Any], dict[str, int], set[str], list[Any]]


class AuditedAdmin(_ModelAdmin):
    """Records every change of a user or a group in the audit trail."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, obj, "added", message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, obj, "changed", message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._record(request, obj, "deleted", "")
        return super().log_deletions(request, queryset)

    def _record(self, request: HttpRequest, obj: Any, what: str, message: Any) -> None:
        # By its id: the name of a user must not outlast their anonymisation. Django's message
        # consists of the names of fields.
        kind = self.opts.model_name
        audit.record(
            AuditEvent.Action.USER_CHANGED,
            Accessor.of(request),
            target=f"{kind} {obj.pk}",
            details={f"{kind}_id": obj.pk, "did": what, "message": message},
        )


class AccountAdmin(AuditedAdmin, _UserAdmin):
    actions = ("deactivate_users", "anonymise_users")

    def has_anonymise_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request) and self.has_delete_permission(request)

    @admin.action(description="Deactivate selected users", permissions=["change"])
    def deactivate_users(self, request: HttpRequest, users: QuerySet[User]) -> None:
        if self._is_refused(request, users, "deactivate"):
            return
        active = list(users.filter(is_active=True))
        with transaction.atomic():
            User.objects.filter(pk__in=[user.pk for user in active]).update(is_active=False)
            for user in active:
                self.log_change(request, user, "Deactivated.")
        self.message_user(
            request,
            f"Deactivated {len(active)} user(s). Their logins and tokens have ended.",
            messages.SUCCESS,
        )

    @admin.action(description="Anonymise selected users", permissions=["anonymise"])
    def anonymise_users(self, request: HttpRequest, users: QuerySet[User]) -> HttpResponse | None:
        """Shows what happens, and does it once that is confirmed."""
        if self._is_refused(request, users, "anonymise"):
            return None
        if not request.POST.get("post"):
            return self._confirmation_page(request, users)
        for pk in list(users.values_list("pk", flat=True)):
            with transaction.atomic():
                self.log_change(request, anonymise(pk), "Anonymised.")
        self.message_user(request, "Anonymised the selected users.", messages.SUCCESS)
        return None

    def get_deleted_objects(
        self, objs: QuerySet[User] | Iterable[User], request: HttpRequest
    ) -> Deletion:
        """Refuses in plain words, where Django would list permissions for hundreds of rows."""
        users = list(objs)
        kept = [f"{user}: {named}" for user in users if (named := describe_references(user))]
        if kept:
            return [], {}, set(), kept
        deletion: Deletion = super().get_deleted_objects(users, request)
        return deletion

    def _is_refused(self, request: HttpRequest, users: QuerySet[User], verb: str) -> bool:
        """Whether these users must not be changed; then a message says why."""
        if users.filter(username=request.user.get_username()).exists():
            reason = f"You cannot {verb} your own account."
        elif not request.user.is_superuser and users.filter(is_superuser=True).exists():
            reason = f"Only a superuser can {verb} a superuser."
        else:
            return False
        self.message_user(request, f"{reason} Nothing was changed.", messages.ERROR)
        return True

    def _confirmation_page(self, request: HttpRequest, users: QuerySet[User]) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Anonymise users",
            "opts": self.opts,
            "users": [(user, describe_references(user)) for user in users],
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/auth/user/anonymise.html", context)


class AuditedGroupAdmin(AuditedAdmin, _GroupAdmin):
    pass


admin.site.unregister([User, Group])
admin.site.register(User, AccountAdmin)
admin.site.register(Group, AuditedGroupAdmin)
