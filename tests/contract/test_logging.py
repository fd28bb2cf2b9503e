"""Loggers of runs, and prints that become log lines."""

import logging

import pytest

from .sdk import SDK, Colour, flow, get_run_logger, history, import_module, riverrun_only, run_script, task

sdk_logging = import_module("logging")
exceptions = import_module("exceptions")


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(0)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def messages(self, logger: str) -> list[str]:
        return [record.getMessage() for record in self.records if record.name == f"{SDK}.{logger}"]


@pytest.fixture
def lines():
    """All that the loggers of runs write, whatever level the configuration gives them."""
    handler = Lines()
    loggers = [logging.getLogger(f"{SDK}.{name}") for name in ("flow_runs", "task_runs")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield handler
    for logger, level in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_run_loggers(colour: Colour, lines: Lines) -> None:
    @colour.task(task_run_name="the task run")
    async def work():
        get_run_logger().info("from the task")

    @colour.flow(flow_run_name="the flow run", name="the flow")
    async def main():
        get_run_logger().warning("from the flow %s", 1)
        await colour(work)

    colour.run(main)
    assert "from the flow 1" in lines.messages("flow_runs")
    assert "from the task" in lines.messages("task_runs")
    mine = next(record for record in lines.records if record.getMessage() == "from the task")
    assert mine.task_run_name == "the task run"
    assert mine.flow_run_name == "the flow run"
    assert mine.flow_name == "the flow"
    assert mine.task_run_id
    assert mine.flow_run_id


def test_outside_a_run_there_is_no_run_logger() -> None:
    with pytest.raises(exceptions.MissingContextError):
        get_run_logger()


def test_extra_fields(lines: Lines) -> None:
    @flow
    def main():
        get_run_logger(custom="c").info("with extra", extra={"more": 1})

    main()
    mine = next(record for record in lines.records if record.getMessage() == "with extra")
    assert mine.custom == "c"


def test_log_prints_of_a_task_and_a_flow(colour: Colour, lines: Lines, capsys) -> None:
    @colour.task(log_prints=True)
    async def work():
        print("printed", "in the task", 1, sep="-")

    @colour.flow(log_prints=True)
    async def main():
        print("printed in the flow")
        await colour(work)

    colour.run(main)
    assert "printed in the flow" in lines.messages("flow_runs")
    assert "printed-in the task-1" in lines.messages("task_runs")
    assert "printed in the flow\n" not in capsys.readouterr().out.splitlines()


def test_prints_are_plain_by_default(lines: Lines, capsys) -> None:
    @flow
    def main():
        print("just printed")

    main()
    assert "just printed" in capsys.readouterr().out
    assert "just printed" not in lines.messages("flow_runs")


def test_tasks_take_log_prints_from_their_flow_unless_they_say_no(lines: Lines, capsys) -> None:
    @task
    def inherits():
        print("inherited")

    @task(log_prints=False)
    def refuses():
        print("refused")

    @flow(log_prints=True)
    def main():
        inherits()
        refuses()
        inherits.submit().wait()

    main()
    assert lines.messages("task_runs").count("inherited") == 2
    assert "refused" not in lines.messages("task_runs")
    assert "refused" in capsys.readouterr().out


def test_prints_to_another_file_stay_there(lines: Lines) -> None:
    import io

    other = io.StringIO()

    @flow(log_prints=True)
    def main():
        print("to the file", file=other)

    main()
    assert other.getvalue() == "to the file\n"
    assert "to the file" not in lines.messages("flow_runs")


def test_print_is_itself_again_afterwards(capsys) -> None:
    @flow(log_prints=True)
    def main():
        raise ValueError

    main(return_state=True)
    print("after")
    assert capsys.readouterr().out.splitlines()[-1] == "after"


def test_flow_run_logger_and_task_run_logger() -> None:
    loggers = import_module("logging.loggers")

    @flow(flow_run_name="r")
    def main():
        context = import_module("context").FlowRunContext.get()
        return loggers.flow_run_logger(context.flow_run, context.flow).extra["flow_run_name"]

    assert main() == "r"


def test_get_logger() -> None:
    assert sdk_logging.get_logger().name == SDK
    assert sdk_logging.get_logger("mine").name == f"{SDK}.mine"


def test_disable_run_logger(lines: Lines) -> None:
    loggers = import_module("logging.loggers")

    @task
    def work():
        get_run_logger().info("silent")
        return 5

    with loggers.disable_run_logger():
        assert work.fn() == 5
    assert "silent" not in lines.messages("task_runs")


def test_odd_messages_do_no_harm(tmp_path) -> None:
    """In a process of its own: pytest's own reports cannot carry a lone surrogate."""
    source = """
        import logging
        from SDK import flow, get_run_logger

        class Broken:
            def __str__(self):
                raise RuntimeError("no text")

        @flow(log_prints=True)
        def main():
            logger = get_run_logger()
            logger.info("nul \\x00 surrogate \\ud800 [bold]markup[/bold] %s")
            logger.info("x" * 100_000)
            logger.info("%s %s", "too few")
            logger.info("%s", Broken())
            print("\\ud800\\x00")
            return 5

        logging.raiseExceptions = False
        raise SystemExit(0 if main() == 5 else 1)
    """
    done = run_script(tmp_path, source)
    assert done.returncode == 0, ascii(done.stderr)


@riverrun_only("an exception of a run is logged with the user's frames, not the engine's")
def test_failures_are_logged_with_a_traceback(colour: Colour, lines: Lines) -> None:
    @colour.task(task_run_name="r")
    async def work():
        raise ValueError("logged")

    colour.run(work, return_state=True)
    errors = [record for record in lines.records if record.levelno >= logging.ERROR]
    assert errors
    text = logging.Formatter().format(errors[0])
    assert "ValueError: logged" in text
    assert "engine/drive.py" not in text


def test_exceptions_of_hooks_are_logged(lines: Lines) -> None:
    def the_hook(*args):
        raise RuntimeError("from the hook")

    flow(lambda: 1, name="f", on_completion=[the_hook])()
    assert any("the_hook" in record.getMessage() for record in lines.records if record.levelno >= logging.ERROR)


def test_retries_are_logged(lines: Lines) -> None:
    calls = []

    @task(retries=1)
    def work():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("the first")

    work()
    assert any("the first" in message and "etr" in message for message in lines.messages("task_runs"))


@riverrun_only("the journal is riverrun's")
def test_lines_of_runs_are_in_the_journal_with_their_run(colour: Colour) -> None:
    journal = import_module("wire.journal")

    @colour.task(task_run_name="t")
    async def work():
        get_run_logger().warning("from the task")

    @colour.flow(flow_run_name="f", log_prints=True)
    async def main():
        get_run_logger().info("from the flow")
        get_run_logger().info("not for the journal", extra={"send_to_api": False})
        get_run_logger().debug("below the level")
        print("printed")
        await colour(work)
        try:
            raise KeyError("inner")
        except KeyError:
            get_run_logger().exception("with a traceback")

    with history() as seen:
        colour.run(main)
    logs = {record.message: record for record in seen.records if isinstance(record, journal.LogRecord)}
    [flow_id] = [record.id for record in seen.records if isinstance(record, journal.FlowRunRecord)]
    [task_id] = [record.id for record in seen.records if isinstance(record, journal.TaskRunRecord)]
    assert logs["from the flow"].flow_run_id == logs["printed"].flow_run_id == flow_id
    assert logs["from the flow"].task_run_id is None
    assert (logs["from the task"].flow_run_id, logs["from the task"].task_run_id) == (flow_id, task_id)
    assert (logs["from the task"].level, logs["from the flow"].level) == (30, 20)
    assert not {"not for the journal", "below the level"} & set(logs)
    [traced] = [message for message in logs if message.startswith("with a traceback")]
    assert "KeyError" in traced
