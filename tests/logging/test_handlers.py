"""The journal handler and the console handler."""

import io
import logging
import sys
import threading
import uuid

import pytest

from riverrun.base.config import temporary_settings
from riverrun.client import journal
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.logging import flow_run_logger, get_logger, task_run_logger
from riverrun.logging.handlers import MAX_MESSAGE, ConsoleHandler, JournalHandler
from riverrun.wire.runs import TaskRun


def handle(message, *args, **extra):
    """Give a line to a journal handler without a logger: pytest listens to those and raises what ours only tells."""
    record = logging.LogRecord("n", logging.INFO, "f.py", 1, message, args, None)
    record.__dict__.update(extra)
    JournalHandler().handle(record)


class TestJournal:
    @pytest.fixture
    def logger(self, fresh_logger):
        return fresh_logger(JournalHandler())

    def test_lines_of_runs_are_kept_with_their_run(self, journaled, flow_run, task_run):
        flow_run_logger(flow_run).info("of the %s", "flow")
        task_run_logger(task_run).warning("of the task")
        first, second = journaled
        assert (first.flow_run_id, first.task_run_id) == (flow_run.id.bytes, None)
        assert (first.level, first.name, first.message) == (20, "riverrun.flow_runs", "of the flow")
        assert (second.flow_run_id, second.task_run_id) == (flow_run.id.bytes, task_run.id.bytes)
        assert second.level == 30

    def test_the_time_is_the_records(self, journaled, flow_run, logger):
        record = logging.LogRecord("n", logging.INFO, "f.py", 1, "m", None, None)
        record.created = 1_700_000_000.25
        record.flow_run_id = flow_run.id
        logger.handle(record)
        assert journaled[0].timestamp == 1_700_000_000_250_000

    def test_other_loggers_inside_runs_take_the_run_from_the_context(
        self, journaled, logger, flow_run, task_run, owner
    ):
        with FlowRunContext(flow=owner("f"), flow_run=flow_run):
            logger.info("flow")
            with TaskRunContext(task=owner("t"), task_run=task_run):
                logger.info("task")
        assert [(line.flow_run_id, line.task_run_id) for line in journaled] == [
            (flow_run.id.bytes, None),
            (flow_run.id.bytes, task_run.id.bytes),
        ]

    def test_a_task_outside_of_flows_keeps_its_lines(self, journaled, logger, owner):
        run = TaskRun(name="alone")
        with TaskRunContext(task=owner("t"), task_run=run):
            logger.info("alone")
        task_run_logger(run).info("alone too")
        assert [(line.flow_run_id, line.task_run_id) for line in journaled] == [(None, run.id.bytes)] * 2

    @pytest.mark.parametrize("kind", [uuid.UUID, str, bytes])
    def test_explicit_ids_win_in_any_form(self, journaled, logger, flow_run, owner, kind):
        other = uuid.uuid4()
        given = {uuid.UUID: other, str: str(other), bytes: other.bytes}[kind]
        with FlowRunContext(flow=owner("f"), flow_run=flow_run):
            logger.info("x", extra={"flow_run_id": given})
            logger.info("y", extra={"task_run_id": given})
        assert [(line.flow_run_id, line.task_run_id) for line in journaled] == [
            (other.bytes, None),
            (flow_run.id.bytes, other.bytes),
        ]

    def test_lines_outside_of_runs_are_not_kept(self, journaled, logger, capsys):
        logger.info("nobody's")
        flow_run_logger().info("of an unknown run")
        assert journaled == []
        assert "Logging error" not in capsys.readouterr().err

    def test_what_opts_out_is_not_kept(self, journaled, flow_run):
        flow_run_logger(flow_run).info("x", extra={"send_to_api": False})
        with temporary_settings({"logging_to_api_enabled": False}):
            flow_run_logger(flow_run).info("y")
        flow_run_logger(flow_run).debug("below the level")
        assert journaled == []

    def test_exceptions_and_stacks_are_appended(self, journaled, flow_run):
        try:
            raise ValueError("oh my")
        except ValueError:
            flow_run_logger(flow_run).exception("context")
        flow_run_logger(flow_run).info("stack", stack_info=True)
        assert journaled[0].message.startswith("context\nTraceback")
        assert journaled[0].message.endswith("ValueError: oh my")
        assert "Stack (most recent call last)" in journaled[1].message

    def test_a_long_message_is_cut_and_says_so(self, journaled, flow_run):
        flow_run_logger(flow_run).info("x" * (MAX_MESSAGE + 7))
        message = journaled[0].message
        assert message.startswith("x" * MAX_MESSAGE + "...")
        assert "7 more characters were cut off" in message

    def test_any_text_passes(self, journaled, flow_run):
        texts = ["a\0b", "lone \ud800 surrogate", "", "日本 \U0001f600"]
        for text in texts:
            handle("%s", text, flow_run_id=flow_run.id)
        # kept as a reader of the journal gets them
        assert [line.message for line in journaled] == ["a\0b", "lone \\ud800 surrogate", "", "日本 \U0001f600"]

    def test_bad_arguments_and_ids_harm_nothing_but_are_told(self, journaled, flow_run, capsys):
        handle("%d items", "three", flow_run_id=flow_run.id)
        handle("x", flow_run_id="no id")
        assert journaled == []
        assert capsys.readouterr().err.count("--- Logging error ---") == 2

    def test_a_sink_that_logs_does_not_recurse(self, flow_run, logger):
        class Chatty(journal.MemoryJournal):
            def __init__(self):
                super().__init__()
                self.append = self.write

            def write(self, record):
                self.records.append(record)
                logger.info("while writing", extra={"flow_run_id": flow_run.id})

        with journal.use(Chatty()) as memory:
            logger.info("once", extra={"flow_run_id": flow_run.id})
        assert [record.message for record in memory.records] == ["once"]

    def test_many_threads(self, journaled, flow_run):
        logger = flow_run_logger(flow_run)
        threads = [threading.Thread(target=lambda: [logger.info("x") for _ in range(200)]) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(journaled) == 1000

    def test_extra_loggers_are_kept(self, journaled, flow_run, owner):
        from riverrun.logging import setup_logging

        name = f"extra.{uuid.uuid4().hex}"
        with temporary_settings({"logging_extra_loggers": [name]}):
            setup_logging()
            setup_logging()
        extra = logging.getLogger(name)
        with FlowRunContext(flow=owner("f"), flow_run=flow_run):
            extra.info("mine")
            logging.getLogger(f"{name}.child").warning("and below")
        assert [line.message for line in journaled] == ["mine", "and below"]
        assert extra.level == logging.INFO


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestConsole:
    def line(self, record_of, stream=None, **settings):
        stream = stream or io.StringIO()
        handler = ConsoleHandler(stream=stream)
        with temporary_settings(settings):
            handler.handle(record_of())
        return stream.getvalue()

    def record(self, name="riverrun.flow_runs", message="hello %s", args=("you",), level=logging.INFO, **extra):
        def make():
            record = logging.LogRecord(name, level, "f.py", 1, message, args, None)
            record.__dict__.update(extra)
            return record

        return make

    def test_the_format_that_users_know(self):
        line = self.line(self.record(flow_run_name="brave-otter"))
        assert line[2] == line[5] == ":"
        assert line[8] == "."
        assert line[12:] == " | INFO    | Flow run 'brave-otter' - hello you\n"
        assert self.line(self.record("riverrun.task_runs", task_run_name="t-0"))[12:] == (
            " | INFO    | Task run 't-0' - hello you\n"
        )
        assert (
            self.line(self.record("riverrun.x", level=logging.CRITICAL))[12:]
            == " | CRITICAL | riverrun.x - hello you\n"
        )
        assert "Flow run '<unknown>'" in self.line(self.record())

    def test_exceptions_follow(self):
        try:
            raise ValueError("oh my")
        except ValueError:
            line = self.line(self.record(exc_info=sys.exc_info()))
        assert "hello you\nTraceback" in line
        assert line.endswith("ValueError: oh my\n")

    def test_colours_only_on_a_terminal(self, monkeypatch):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        record = self.record(message="Finished in state Completed()", args=(), flow_run_name="brave-otter")
        assert "\x1b" not in self.line(record)
        painted = self.line(record, Terminal())
        assert "\x1b[36mINFO   \x1b[0m" in painted
        assert "\x1b[32mCompleted\x1b[0m()" in painted
        assert "\x1b[35m'brave-otter'\x1b[0m" in painted
        assert "\x1b" not in self.line(record, Terminal(), logging_colors=False)
        assert "\x1b" in self.line(record, logging_colors=True)
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b" not in self.line(record, Terminal())
        assert "\x1b" in self.line(record, Terminal(), logging_colors=True)
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.setenv("TERM", "dumb")
        assert "\x1b" not in self.line(record, Terminal())

    def test_names_with_quotes_and_backslashes_are_painted_whole(self):
        line = self.line(self.record(flow_run_name=r"a'\1'b"), logging_colors=True)
        assert "\x1b[35m" in line
        assert repr(r"a'\1'b") in line.replace("\x1b[35m", "").replace("\x1b[0m", "")

    def test_brackets_are_text_unless_markup_is_on(self):
        message = "DROP TABLE [dbo].[SomeTable]; [red]x[/red]"
        record = self.record("riverrun.x", message, ())
        assert message in self.line(record)
        assert "this applies style" in self.line(
            self.record("riverrun.x", "this applies [red]style[/red]", ()), logging_markup=True
        )
        broken = self.record("riverrun.x", "not [/closed]", ())
        assert "not [/closed]" in self.line(broken, logging_markup=True)

    def test_a_stream_that_cannot_write_a_character_gets_an_escape(self):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
        ConsoleHandler(stream=stream).handle(self.record(message="naïve \ud800", args=())())
        assert b"na\\xefve \\ud800" in raw.getvalue()

    def test_a_closed_stream_is_passed_over(self, capsys):
        stream = io.StringIO()
        stream.close()
        handler = ConsoleHandler(stream=stream)
        handler.handle(self.record()())
        handler.flush()
        assert capsys.readouterr().err == ""

    def test_the_current_stderr_is_written_to(self, capsys):
        get_logger("x").warning("to stderr")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.endswith(" | WARNING | riverrun.x - to stderr\n")

    def test_a_users_own_root_handler_is_not_doubled(self, capsys):
        own = logging.StreamHandler(sys.stderr)
        logging.root.addHandler(own)
        try:
            get_logger("x").warning("once")
        finally:
            logging.root.removeHandler(own)
        assert capsys.readouterr().err == "once\n"

    def test_a_file_of_the_users_does_not_silence_the_console(self, capsys, tmp_path):
        own = logging.FileHandler(tmp_path / "log")
        logging.root.addHandler(own)
        try:
            get_logger("x").warning("both")
        finally:
            logging.root.removeHandler(own)
            own.close()
        assert "both" in capsys.readouterr().err
        assert (tmp_path / "log").read_text() == "both\n"
