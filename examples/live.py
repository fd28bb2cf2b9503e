"""Runs a command that runs a flow and shows the flow's tasks as they come and go, read from the store by this process.

The other process only writes its journal; nothing is sent from there to here. Its lines of output scroll by above the table.
"""

import os
import subprocess
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from riverrun.client.local import open_store

EVERY = 0.1  # seconds
COLOURS = {"COMPLETED": "green", "FAILED": "red", "RUNNING": "blue", "SCHEDULED": "yellow", "PENDING": "cyan"}
BAR = 24


def run_and_watch(command: list[str], cwd: str) -> int:
    """Runs the command in a terminal; returns its exit code."""
    console = Console()
    with open_store():
        pass  # makes the tables the first time, so that the view need not wait for that
    began = datetime.now(UTC)
    colourful = {**os.environ, "FORCE_COLOR": "1", "RIVERRUN_LOGGING_COLORS": "true", "COLUMNS": str(console.width)}
    with (
        subprocess.Popen(
            command, cwd=cwd, env=colourful, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
        Live(console=console, refresh_per_second=20) as live,
    ):
        echo = threading.Thread(target=copy_lines, args=(process, console))
        echo.start()
        while process.poll() is None:
            live.update(picture(began))
            time.sleep(EVERY)
        echo.join()
        live.update(picture(began))
    return process.returncode


def copy_lines(process: subprocess.Popen[str], console: Console) -> None:
    """The command's output, above the table."""
    assert process.stdout is not None
    for line in process.stdout:
        console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)


def picture(began: datetime) -> Table | Text:
    """The tasks of the flow run that began last, one line each."""
    with open_store() as store:
        flow_run = next((run for run in store.flow_runs(since=began) if run.parent_task_run_id is None), None)
        if flow_run is None:
            return Text("waiting for the flow to begin ...", style="dim")
        runs = store.task_runs(flow_run_id=flow_run.id, limit=1000)
    by_task = defaultdict(list)
    for run in reversed(runs):
        by_task[run.task_key].append(run)
    table = Table(title=f"{flow_run.name}: {flow_run.state_name}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("task", "", "ended", "attempts", "states"):
        table.add_column(heading, header_style="dim")
    for key, same in by_task.items():
        ended = sum(run.end_time is not None for run in same)
        states = defaultdict(int)
        for run in same:
            states[run.state_name, str(run.state_type)] += 1
        told = Text("  ").join(Text(f"{n} {name}", style=COLOURS.get(kind, "")) for (name, kind), n in states.items())
        full = BAR * ended // len(same)
        bar = Text("━" * full, style="green") + Text("━" * (BAR - full), style="bright_black")
        table.add_row(title(key), bar, f"{ended}/{len(same)}", str(sum(run.run_count for run in same)), told)
    return table


def title(task_key: str) -> str:
    """The name of a task in its key, which is the qualified name and a hash of the source."""
    return task_key.rpartition("-")[0].rpartition(".")[2] or task_key
