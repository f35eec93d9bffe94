"""Jobs in the admin: their progress and their results. They can be cancelled and retried."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from predictions.jobs import changes, kinds
from predictions.jobs.changes import JobEnded, JobNotRetriable
from predictions.jobs.visibility import PERMISSION_TO_CHANGE, may_read_parameters
from predictions.models import Job
from registry.access.accessor import Accessor
from registry.readonly_admin import ReadOnlyAdmin, readable_json

# The API pages through all errors that are kept.
MAX_SHOWN_ERRORS = 100


class KindFilter(admin.SimpleListFilter):
    """By kind; Django's own filter would read the whole table for the choices."""

    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(kind.name, kind.name) for kind in kinds.registered()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(kind=self.value())


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "kind",
        "model_name",
        "state",
        "progress",
        "row_errors",
        "created_at",
        "created_by",
    )
    list_display_links = ("id", "kind")
    list_filter = ("status", KindFilter, "created_at")
    actions = ("cancel_jobs", "retry_jobs")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "kind",
                    "model_name",
                    "state",
                    "error",
                    "progress",
                    "readable_result",
                    "row_errors",
                    "errors_by_row",
                )
            },
        ),
        (
            "Request",
            {
                "fields": (
                    "readable_parameters",
                    "created_by",
                    "api_key",
                    "created_at",
                    "started_at",
                    "finished_at",
                    "attempts",
                    "due_at",
                )
            },
        ),
    )

    readonly_fields = (
        "state",
        "progress",
        "row_errors",
        "readable_result",
        "errors_by_row",
        "readable_parameters",
    )

    class Media:
        css = {"all": ["registry/admin.css", "predictions/jobs.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("created_by", "api_key")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        job = super().get_object(request, object_id, from_field)
        # Parameters may name a subject, which not everybody who may see the job may know.
        if isinstance(job, Job) and not may_read_parameters(Accessor.of(request), job):
            job.parameters = None
        return job

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """May cancel and retry jobs."""
        return request.user.has_perm(PERMISSION_TO_CHANGE)

    @admin.display(description="status")
    def state(self, job: Job) -> str:
        return "cancelling" if job.is_cancel_requested else job.get_status_display().lower()

    @admin.display(description="progress")
    def progress(self, job: Job) -> SafeString | str:
        """A bar while the job runs; without a value while the number of rows is unknown."""
        if job.rows_expected is None:
            text = f"{job.rows_done:,} rows"
            if job.status != Job.Status.RUNNING:
                return text
            return format_html('<progress class="job-progress"></progress> {}', text)
        # `rows_expected` may be an estimate.
        expected = max(job.rows_expected, job.rows_done, 1)
        return format_html(
            '<progress class="job-progress" max="{}" value="{}"></progress> {} of {} rows',
            expected,
            expected if job.status == Job.Status.SUCCEEDED else job.rows_done,
            f"{job.rows_done:,}",
            f"{job.rows_expected:,}",
        )

    @admin.display(description="row errors")
    def row_errors(self, job: Job) -> str:
        return f"{job.error_count:,}" if job.error_count else "-"

    @admin.display(description="parameters")
    def readable_parameters(self, job: Job) -> str:
        return readable_json(job.parameters)

    @admin.display(description="result")
    def readable_result(self, job: Job) -> str:
        return readable_json(job.result)

    @admin.display(description="errors by row")
    def errors_by_row(self, job: Job) -> SafeString | str:
        errors = job.errors.in_order()[:MAX_SHOWN_ERRORS]
        rows = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            ((error.position, error.reference, error.message) for error in errors),
        )
        if not rows:
            return "-"
        head = "<thead><tr><th>row</th><th>reference</th><th>error</th></tr></thead>"
        return format_html('<table class="job-errors">' + head + "<tbody>{}</tbody></table>", rows)

    @admin.action(description="Cancel selected jobs", permissions=["operate"])
    def cancel_jobs(self, request: HttpRequest, jobs: QuerySet[Job]) -> None:
        self._change(request, jobs, changes.cancel, "cancelled, or will end at their next step")

    @admin.action(description="Start selected jobs again", permissions=["operate"])
    def retry_jobs(self, request: HttpRequest, jobs: QuerySet[Job]) -> None:
        self._change(request, jobs, changes.retry, "queued again")

    def _change(
        self, request: HttpRequest, jobs: QuerySet[Job], change: Callable[..., Job], what: str
    ) -> None:
        n_changed = 0
        for job in jobs:
            try:
                change(job, accessor=Accessor.of(request))
                n_changed += 1
            except (JobEnded, JobNotRetriable) as error:
                self.message_user(request, str(error), messages.WARNING)
        if n_changed:
            self.message_user(request, f"{n_changed} jobs were {what}.")
