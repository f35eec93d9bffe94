"""Every fault, in the order of a run, and pairs of them."""

import random
from collections.abc import Iterator, Sequence

from benchmarks.chaos.faults import clocks, databases, files, models, processes
from benchmarks.chaos.faults.base import Fault

FAULTS: dict[str, type[Fault]] = {
    "worker-killed": processes.WorkerKilled,
    "workers-killed": processes.WorkersKilled,
    "parent-killed": processes.ParentKilled,
    "slow-bodies": processes.SlowBodies,
    "slow-bodies-with-token": processes.SlowBodiesWithToken,
    "slow-heads": processes.SlowHeaders,
    "descriptors-short": processes.DescriptorsShort,
    "hung-remote": models.HungRemote,
    "dripping-remote": models.DrippingRemote,
    "endless-file": models.EndlessFile,
    "poison-file": models.PoisonFile,
    "scorer-crashes": models.ScorerCrashes,
    "database-stopped": databases.Stopped,
    "database-restarted": databases.Restarted,
    "database-read-only": databases.ReadOnly,
    "database-slow": databases.Slow,
    "connections-cut": databases.ConnectionsCut,
    "database-unreachable": databases.Unreachable,
    "database-refusing": databases.Refusing,
    "database-locked": databases.Locked,
    "database-disk-full": files.DatabaseDiskFull,
    "files-disk-full": files.FilesDiskFull,
    "artifacts-gone": files.ArtifactsGone,
    "clock-moved": clocks.ClockMoved,
}
# These restart the service before and after, which takes long.
ALONE = {"clock-moved", "descriptors-short"}


def random_pairs(names: Sequence[str], seed: int) -> Iterator[tuple[str, str]]:
    """Pairs of possible faults that can happen together, without end."""
    generator = random.Random(seed)  # noqa: S311
    usable = [name for name in names if name not in ALONE]
    groups = {FAULTS[name].group for name in usable}
    while len(groups) > 1:
        first, second = generator.sample(usable, 2)
        if FAULTS[first].group != FAULTS[second].group:
            yield first, second
