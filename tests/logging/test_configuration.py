"""How logging is set up, in fresh processes: once, lazily, and by the user's file if there is one."""

import json
import logging
import os
import subprocess
import sys
import textwrap

import pytest

from riverrun.base.config import temporary_settings
from riverrun.exceptions import ConfigurationError
from riverrun.logging.configuration import load_logging_config
from riverrun.logging.formatters import JsonFormatter, PrefectFormatter


def run(code, tmp_path, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, "RIVERRUN_HOME": str(tmp_path), **environment},
    )
    return done


def test_importing_is_light_and_changes_nothing(tmp_path):
    done = run(
        """
        import logging, sys
        import riverrun.logging.loggers, riverrun.logging.handlers
        print([m for m in ("asyncio", "rich", "socket", "json", "logging.config", "concurrent.futures", "pydantic")
               if m in sys.modules], logging.getLogger("riverrun").handlers, logging.root.handlers)
        """,
        tmp_path,
    )
    assert done.stdout == "[] [] []\n", done.stderr


def test_the_first_logger_sets_up_and_the_level_is_the_settings(tmp_path):
    code = """
        import logging
        from riverrun.logging import get_logger
        get_logger().debug("quiet"); get_logger("a").info("loud")
        print([type(h).__name__ for h in logging.getLogger("riverrun").handlers], logging.root.handlers)
        """
    done = run(code, tmp_path)
    assert done.stdout == "['ConsoleHandler', 'JournalHandler'] []\n"
    assert "riverrun.a - loud" in done.stderr
    assert "quiet" not in done.stderr
    assert "quiet" in run(code, tmp_path, RIVERRUN_LOGGING_LEVEL="DEBUG").stderr


CONFIG = {
    "version": 1,
    "formatters": {
        "mine": {
            "()": "riverrun.logging.formatters.PrefectFormatter",
            "format": "MINE %(message)s",
            "flow_run_fmt": "FLOW %(flow_run_name)s %(message)s",
        }
    },
    "handlers": {
        "console": {
            "class": "riverrun.logging.handlers.PrefectConsoleHandler",
            "formatter": "mine",
            "stream": "ext://sys.stdout",
            "styles": {},
        },
        "api": {"class": "riverrun.logging.handlers.APILogHandler"},
    },
    "loggers": {"riverrun": {"level": "${RIVERRUN_LOGGING_LEVEL}", "handlers": ["console", "api"]}},
}


def test_a_users_file_is_used_instead(tmp_path):
    path = tmp_path / "logging.json"
    path.write_text(json.dumps(CONFIG))
    done = run(
        """
        from riverrun.logging import get_logger, flow_run_logger
        from riverrun.wire.runs import FlowRun
        get_logger().info("quiet"); get_logger().warning("loud")
        flow_run_logger(FlowRun(name="brave")).error("line")
        """,
        tmp_path,
        RIVERRUN_LOGGING_CONFIG_PATH=str(path),
        RIVERRUN_LOGGING_LEVEL="WARNING",
    )
    assert done.stdout == "MINE loud\nFLOW brave line\n", done.stderr


def test_a_file_that_does_not_exist_is_passed_over(tmp_path):
    done = run(
        "from riverrun.logging import get_logger; get_logger().warning('x')",
        tmp_path,
        RIVERRUN_LOGGING_CONFIG_PATH=str(tmp_path / "nothing.json"),
    )
    assert "riverrun - x" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.toml", "a = ", "cannot be read"),
        ("a.json", "[]", "must be a mapping"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_logging_config(path)
    assert str(path) in str(caught.value)


def test_a_file_that_does_not_work_is_named(tmp_path):
    path = tmp_path / "logging.json"
    path.write_text('{"handlers": {"x": {"class": "no.such.Handler"}}}')
    done = run(
        "import riverrun.logging; riverrun.logging.get_logger()", tmp_path, RIVERRUN_LOGGING_CONFIG_PATH=str(path)
    )
    assert f"The logging configuration {path} does not work" in done.stderr


def test_toml_and_settings_in_texts(tmp_path):
    path = tmp_path / "logging.toml"
    path.write_text('a = "${RIVERRUN_LOGGING_LEVEL} ${PREFECT_LOGGING_LEVEL} ${OTHER}"\nb = ["${RIVERRUN_NOTHING}"]')
    with temporary_settings({"logging_level": "ERROR"}):
        assert load_logging_config(path) == {"a": "ERROR ERROR ${OTHER}", "b": ["${RIVERRUN_NOTHING}"]}


class TestFormatters:
    def record(self, **fields):
        record = logging.LogRecord("riverrun.task_runs", logging.INFO, "f.py", 1, "hello %s", ("you",), None)
        record.__dict__.update(fields)
        return record

    def test_formats_by_kind_of_run(self):
        formatter = PrefectFormatter(
            "%(name)s %(message)s", task_run_fmt="T %(task_run_name)s %(message)s", flow_run_fmt="F %(flow_run_name)s"
        )
        assert formatter.format(self.record(task_run_name="t-0")) == "T t-0 hello you"
        assert formatter.format(self.record()) == "T <unknown> hello you"
        assert formatter.format(self.record(name="riverrun.flow_runs", flow_run_name="b")) == "F b"
        assert formatter.format(self.record(name="other")) == "other hello you"

    def test_other_styles(self):
        formatter = PrefectFormatter("{message}", style="{", task_run_fmt="{task_run_name}:{message}")
        assert formatter.format(self.record(task_run_name="t")) == "t:hello you"

    def test_json(self):
        try:
            raise ValueError("test")
        except ValueError:
            info = sys.exc_info()
        line = JsonFormatter("default", None, "%").format(self.record(exc_info=info, odd=object()))
        fields = json.loads(line)
        assert fields["message"] == "hello you"
        assert fields["exc_info"]["type"] == "ValueError"
        assert fields["exc_info"]["message"] == "test"
        assert "Traceback" in fields["exc_info"]["traceback"]
        assert "\n" not in line
        assert "\n" in JsonFormatter("pretty").format(self.record())
        with pytest.raises(ValueError, match="'default' or 'pretty'"):
            JsonFormatter("odd")
