import argparse

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from predictions.partitions import conversion, growth
from predictions.partitions.catalog import KEPT_AHEAD, Layout, Partition, find_layout
from predictions.partitions.errors import ConversionRefused, PartitionsUnavailable, TableBusy
from predictions.partitions.locking import exclusively


class Command(BaseCommand):
    help = (
        "Show the partitions of the log, and create the next ones ahead. PostgreSQL only; a plain"
        " table stays as it is without --convert."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        way = parser.add_mutually_exclusive_group()
        way.add_argument(
            "--convert",
            action="store_true",
            help="Turn the plain table into partitions while the service runs.",
        )
        way.add_argument(
            "--revert",
            action="store_true",
            help="Turn the log into a plain table again, if only the first partition has rows.",
        )
        parser.add_argument(
            "--rows-per-partition",
            type=_rows,
            metavar="N",
            help=f"IDs of a new partition: by default as many as the newest has, at first"
            f" {growth.DEFAULT_ROWS}.",
        )

    def handle(
        self, *, convert: bool, revert: bool, rows_per_partition: int | None, **options: object
    ) -> None:
        try:
            if convert and not conversion.convert(rows_per_partition, self._report):
                self.stdout.write("The log has partitions already.")
            elif revert:
                conversion.revert(self._report)
            elif not convert:
                self._grow(rows_per_partition)
            self._show()
        except (ConversionRefused, PartitionsUnavailable, TableBusy) as error:
            raise CommandError(str(error)) from error

    def _report(self, step: str) -> None:
        self.stdout.write(f"{step[0].upper()}{step[1:]}.")
        self.stdout.flush()

    def _grow(self, rows_per_partition: int | None) -> None:
        with exclusively():
            conversion.finish(self._report)
            for name in growth.create_ahead(rows_per_partition):
                self.stdout.write(f"Created {name}.")

    def _show(self) -> None:
        layout = find_layout(connection)
        if layout is None:
            self.stdout.write("The log is a plain table. To partition it: partitions --convert")
            return
        for partition in layout.partitions:
            self.stdout.write(_line(partition))
        self.stdout.write(_summary(layout))


def _line(partition: Partition) -> str:
    oldest, newest = partition.times()
    times = f"{oldest:%Y-%m-%d %H:%M} to {newest:%Y-%m-%d %H:%M}" if oldest and newest else "empty"
    first = 1 if partition.first_id is None else partition.first_id
    size = f"{partition.size_bytes / 2**20:,.1f} MiB"
    return (
        f"{partition.name:32} ids {first:>13,} to {partition.end_id - 1:>13,}  {size:>14}  {times}"
    )


def _summary(layout: Layout) -> str:
    return (
        f"The last id is {layout.last_id:,}; {layout.ids_left:,} more fit."
        f" {layout.ahead} partitions are ahead; {KEPT_AHEAD} are kept."
    )


def _rows(text: str) -> int:
    lowest, highest = growth.MIN_ROWS, growth.MAX_ROWS
    if text.isascii() and text.isdecimal() and lowest <= int(text) <= highest:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from {lowest} to {highest}")
