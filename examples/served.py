"""Two flows that one process serves: one on a schedule, one when it is asked for.

python examples/served.py            until Ctrl-C
riverrun deployment ls
riverrun deployment run 'greet/on-demand' --param name=Ann --watch
"""

from riverrun import flow, get_run_logger, serve
from riverrun.runtime import deployment, flow_run
from riverrun.schedules import Interval


@flow
def tick() -> None:
    """Says when it was to run."""
    get_run_logger().info("%s was due at %s", deployment.name, flow_run.scheduled_start_time)


@flow
def greet(name: str = "world") -> str:
    """Greets somebody."""
    get_run_logger().info("Hello, %s!", name)
    return f"Hello, {name}!"


if __name__ == "__main__":
    serve(
        tick.to_deployment("every-ten-seconds", schedule=Interval(10, catch_up="latest")),
        greet.to_deployment("on-demand"),
        limit=4,
    )
