"""The small rules of printing: durations, spans of time, widths."""

import io
import sys
from datetime import timedelta

import msgspec
import pytest

from riverrun.base.clock import now
from riverrun.cli import output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 us"),
        (0.000312, "312 us"),
        (0.25, "250.0 ms"),
        (1.2041, "1.204 s"),
        (59.9994, "59.999 s"),
        (200, "3 m 20 s"),
        (7500, "2 h 05 m"),
        (60 * 3600 + 1, "2 d 12 h"),
        (-1.5, "-1.500 s"),
    ],
)
def test_durations(seconds, text):
    assert output.duration(None if seconds is None else timedelta(seconds=seconds)) == text


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s ago"),
        (59, "59 s ago"),
        (61, "1 minute ago"),
        (7300, "2 hours ago"),
        (200000, "2 days ago"),
        (-90, "in 1 minute"),
    ],
)
def test_instants_on_a_terminal_are_relative(monkeypatch, seconds, text):
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert output.when(now() - timedelta(seconds=seconds)) == text


def test_instants_elsewhere_are_iso():
    instant = now()
    assert output.when(instant) == instant.isoformat(timespec="milliseconds")
    assert output.when(None) == "-"


def test_colours_ask_the_setting_then_the_environment_then_the_stream(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert output.use_color()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.use_color()
    monkeypatch.setenv("RIVERRUN_CLI_COLORS", "1")
    assert output.use_color()


def test_json_takes_what_has_no_utf8(capsys):
    output.print_json({"name": "a\ud800b", "took": timedelta(seconds=1.5), "list": ["é", {"x": (1, None)}]})
    document = msgspec.json.decode(capsys.readouterr().out)
    assert document == {"name": "a\\ud800b", "took": 1.5, "list": ["é", {"x": [1, None]}]}


def test_columns_line_up(capsys):
    output.print_table(("Name", ">Count"), [("字", "1"), ("e\u0301", "22"), ("abc\x07\n", "333")], title="T")
    assert capsys.readouterr().out.splitlines() == [
        "T",
        "NAME      COUNT",
        "字            1",
        "e\u0301            22",
        "abc\\x07     333",
    ]
