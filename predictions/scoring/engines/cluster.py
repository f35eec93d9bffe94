"""Scores with Dask: on a running cluster, or on one of this machine that is started for this run.
The one module that imports distributed. No Django here.

Anyone who can reach a scheduler can run code on it: tasks are sent as pickles. Connections use
TLS, and both sides show a certificate of the same authority.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

from distributed import Client, LocalCluster, Security, as_completed
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from predictions.scoring.engines.base import described, receipt_in, reply_to
from predictions.scoring.work import EngineUnavailable, ScoringFailed, ScoringInterrupted
from registry.exact_json.values import JSONObject

CONNECT_SECONDS = 10
# How long to wait for the first worker of a cluster.
WORKER_SECONDS = 60
# The most orders that the scheduler has at a time.
WINDOW = 1000
SCHEMES = ("tls://",)


class DaskEngine:
    """Has tasks done by the workers of a Dask cluster."""

    def __init__(
        self,
        *,
        workers: int,
        scheduler: str | None,
        certificates: tuple[str, str, str] | None,
        is_insecure_allowed: bool,
    ) -> None:
        self._workers, self._scheduler = workers, scheduler
        self._security = _security(scheduler, certificates, is_insecure_allowed)

    def run(self, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
        """See Engine."""
        # It logs every connection that is opened or closed.
        logging.getLogger("distributed").setLevel(logging.ERROR)
        with ExitStack() as stack:
            client = self._connect(stack)
            try:
                yield from _run(client, orders)
            except (CommClosedError, OSError) as error:
                raise ScoringInterrupted(f"The Dask cluster is gone: {error}") from error

    def _connect(self, stack: ExitStack) -> Any:
        try:
            address: Any = self._scheduler or stack.enter_context(self._local_cluster())
            client = stack.enter_context(
                Client(
                    address,
                    security=self._security,
                    timeout=CONNECT_SECONDS,
                    set_as_default=False,
                )
            )
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            where = self._scheduler or "this machine"
            raise EngineUnavailable(
                f"There is no Dask scheduler with a worker at {where}: {error}"
            ) from error
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineUnavailable(f"The Dask cluster cannot be used: {error}") from error
        return client

    def _local_cluster(self) -> Any:
        return LocalCluster(
            n_workers=self._workers,
            threads_per_worker=1,
            processes=True,
            host="tls://127.0.0.1",
            security=self._security,
            dashboard_address=None,
            # Batches bound the memory of a worker; Dask would only pause it.
            memory_limit=0,
            silence_logs=logging.ERROR,
        )


def _security(
    scheduler: str | None,
    certificates: tuple[str, str, str] | None,
    is_insecure_allowed: bool,
) -> Any:
    if scheduler is None:
        return Security.temporary()
    if not scheduler.startswith(SCHEMES):
        if is_insecure_allowed and scheduler.startswith("tcp://"):
            return None
        raise EngineUnavailable(
            f"--scheduler: must be tls://host:port, not {scheduler}: whoever reaches a scheduler"
            " without TLS can run code on its workers"
        )
    if certificates is None:
        raise EngineUnavailable(
            "--scheduler needs --tls-ca, --tls-cert and --tls-key: the certificates of the cluster"
        )
    authority, certificate, key = certificates
    return Security(
        tls_ca_file=authority,
        tls_client_cert=certificate,
        tls_client_key=key,
        require_encryption=True,
    )


def _run(client: Any, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
    futures: dict[str, JSONObject] = {}

    def submit(order: JSONObject) -> Any:
        future = client.submit(reply_to, order, pure=False)
        futures[future.key] = order
        return future

    submitted = [submit(order) for order in islice(orders, WINDOW)]
    completed = as_completed(submitted, loop=client.loop)
    for future in completed:
        order = futures.pop(future.key)
        yield _receipt(future, order)
        if (following := next(orders, None)) is not None:
            completed.add(submit(following))


def _receipt(future: Any, order: JSONObject) -> JSONObject:
    if future.cancelled() or future.status == "lost":
        raise ScoringInterrupted("The Dask scheduler is gone")
    try:
        return receipt_in(future.result())
    except KilledWorker as error:
        raise ScoringFailed(f"{described(order)}: its workers died of it") from error
