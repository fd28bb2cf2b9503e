"""What may be wrong with a store, looked for on request: the revision, the file, roll-ups that differ from the ledger."""

import sqlalchemy as sa

from riverrun.server.db import schema
from riverrun.server.db.engine import Database
from riverrun.server.db.tables import flow_run, flow_run_state, task_run, task_run_state

_MOST = 20


def problems_of(database: Database) -> list[str]:
    """Sentences about what is wrong; none for a sound store."""
    if database.path is not None and not database.path.exists():
        return [f"There is no store at {database.path}."]
    found = schema.version(database)
    if found != schema.HEAD:
        return [
            f"The tables are at {found or 'no revision'}, this version needs {schema.HEAD}: `server database upgrade`."
        ]
    with database.read() as connection:
        return [*_of_file(connection, database), *_of_states(connection)]


def _of_file(connection: sa.Connection, database: Database) -> list[str]:
    if database.path is None:
        return []
    rows = connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})").all()
    return [f"The file is damaged: {text}" for (text,) in rows if text != "ok"]


def _of_states(connection: sa.Connection) -> list[str]:
    """Runs whose current state is not among their states, and states without a run."""
    found = []
    for run, states in ((flow_run, flow_run_state), (task_run, task_run_state)):
        current = sa.exists().where(states.c.run_key == run.c.key, states.c.seq == run.c.state_seq)
        lacking = sa.select(sa.func.count()).select_from(run).where(run.c.state_seq > 0, ~current)
        orphans = (
            sa.select(sa.func.count()).select_from(states).where(~sa.exists().where(run.c.key == states.c.run_key))
        )
        for number, words in (
            (connection.execute(lacking).scalar(), f"{run.name}s lack the state that they are in"),
            (connection.execute(orphans).scalar(), f"rows of {states.name} belong to no run"),
        ):
            if number:
                found.append(f"{number} {words.replace('_', ' ')}.")
    return found
