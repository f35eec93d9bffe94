"""The table of recurring work: when each kind is due next."""

from django.db import models


class RecurringWork(models.Model):
    """A kind of work that is done at intervals, by one worker at a time.

    A worker that takes it moves `due_at` to the end of its lease. If the worker dies, the work is
    due again then.
    """

    name = models.CharField(max_length=100, primary_key=True)
    due_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.CharField(
        max_length=500, blank=True, default="", help_text="Why it failed the last time."
    )

    class Meta:
        db_table = "recurring_work"
        verbose_name_plural = "recurring work"

    def __str__(self) -> str:
        return self.name
