"""`riverrun worker`: start a worker of a work pool."""

from typing import IO

import click


@click.group()
def worker() -> None:
    """Start workers."""


@worker.command()
@click.option("-p", "--pool", required=True, metavar="POOL", help="The work pool; it is created if there is none.")
@click.option("-n", "--name", metavar="NAME", help="What the worker is called. Default: a name of its own.")
@click.option(
    "-q", "--work-queue", "queues", multiple=True, metavar="QUEUE", help="Take runs of these queues only. Repeatable."
)
@click.option(
    "-t", "--type", "kind", metavar="TYPE", help="Type of the worker. Default: that of the pool, else process."
)
@click.option("-l", "--limit", type=click.IntRange(1), metavar="N", help="Most runs at once.")
@click.option("--run-once", "--once", is_flag=True, help="Run what is due now, then end.")
@click.option(
    "--with-healthcheck",
    "health_port",
    is_flag=False,
    flag_value=8080,
    type=click.IntRange(0, 65_535),
    metavar="[PORT]",
    help="Answer GET /health on this port (8080), on this machine.",
)
@click.option(
    "--prefetch-seconds", type=click.FloatRange(0), metavar="SECONDS", help="Of no effect: runs come at their instant."
)
@click.option(
    "--create-pool-if-not-found/--no-create-pool-if-not-found", default=True, help="Whether to create the pool."
)
@click.option(
    "--base-job-template", type=click.File(), metavar="FILE", help="JSON template for a pool that is created."
)
def start(
    pool: str,
    name: str | None,
    queues: tuple[str, ...],
    kind: str | None,
    limit: int | None,
    run_once: bool,
    health_port: int | None,
    prefetch_seconds: float | None,
    create_pool_if_not_found: bool,
    base_job_template: IO[str] | None,
) -> None:
    """Take runs of a work pool and run them, until SIGTERM or Ctrl-C.

    Then no more runs are taken, and those under way end first; a second signal ends them.
    """
    import asyncio

    from riverrun.workers.types import worker_class

    made = worker_class(kind, pool)(
        work_pool_name=pool,
        work_queues=list(queues),
        name=name,
        prefetch_seconds=prefetch_seconds,
        create_pool_if_not_found=create_pool_if_not_found,
        limit=limit,
        base_job_template=None if base_job_template is None else _template(base_job_template),
    )
    asyncio.run(
        made.start(
            run_once=run_once,
            with_healthcheck=health_port is not None,
            printer=click.echo,
            healthcheck_port=health_port or 0,
        )
    )


def _template(file: IO[str]) -> dict[str, object]:
    import msgspec

    from riverrun.base.errors import InputError

    try:
        return msgspec.json.decode(file.read(), type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise InputError(f"{file.name} is no JSON object: {error}") from None
