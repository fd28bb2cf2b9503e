"""The log of a flow run as a table for spreadsheets."""

import csv
import io
from collections.abc import Iterable

from riverrun.wire.logs import Log

HEADER = ("timestamp", "level", "flow_run_id", "task_run_id", "message")
#: a cell that begins so is a formula to a spreadsheet
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(lines: Iterable[Log], *, header: bool) -> bytes:
    """Lines as CSV; a message that a spreadsheet would compute gets an apostrophe in front."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(HEADER)
    for line in lines:
        message = f"'{line.message}" if line.message.startswith(_FORMULA) else line.message
        writer.writerow([line.timestamp.isoformat(), line.level, line.flow_run_id, line.task_run_id, message])
    return text.getvalue().encode("utf-8", "replace")
