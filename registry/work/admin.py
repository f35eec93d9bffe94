"""The admin page of recurring work: when it was done and whether it failed."""

from django.contrib import admin

from registry.models import RecurringWork
from registry.readonly_admin import ReadOnlyAdmin


@admin.register(RecurringWork)
class RecurringWorkAdmin(ReadOnlyAdmin):
    list_display = ("name", "due_at", "started_at", "finished_at", "error")
    ordering = ("due_at", "name")
    sortable_by = ("due_at",)
