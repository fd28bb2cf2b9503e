"""flow-run, task-run and flow: what they print of a store that is known."""

import pytest

GOOD, BAD, GOING = "calm-otter", "angry-crow", "slow-"


def id_of(cli, home, name):
    runs = cli("flow-run", "ls", "--json", home=home).document
    return next(run["id"] for run in runs if run["name"].startswith(name))


def test_ls_lists_the_latest_first(cli, filled):
    result = cli("flow-run", "ls", home=filled)
    assert (result.code, result.err) == (0, "")
    header, *rows = result.rows
    assert header.split() == ["ID", "FLOW", "NAME", "STATE", "WHEN", "RUN", "TIME"]
    assert [row.split("  ")[1].strip() for row in rows] == ["report", "etl", "etl"]
    assert "12.500 s" in rows[2]
    assert "2025-10-09T08:53:20.250+00:00" in rows[2]
    assert all(row.isprintable() for row in rows), "control characters of names are shown, not obeyed"
    assert "\\x1b[31m" in rows[0]
    assert "漢字" in rows[0]
    assert rows[0].index("Running") + 2 == rows[1].index("Failed"), "wide characters take two columns"


def test_ls_as_json(cli, filled):
    result = cli("flow-run", "ls", "--json", home=filled)
    assert result.err == ""
    runs = result.document
    assert [run["flow_name"] for run in runs] == ["report", "etl", "etl"]
    good = runs[2]
    assert good["name"] == GOOD
    assert good["state_type"] == "COMPLETED"
    assert good["state"]["message"] == "All states completed."
    assert good["total_run_time"] == 12.5
    assert good["start_time"] == "2025-10-09T08:53:20.250000Z"
    assert good["parameters"] == {"day": "2026-01-31", "n": 3}
    assert sorted(good["tags"]) == ["eu", "nightly"]
    assert runs[0]["name"].startswith("slow-\x1b[31m"), "JSON keeps what was written"
    again = cli("flow-run", "ls", "-o", "json", home=filled).document
    for run in [*runs, *again]:
        del run["estimated_run_time"]  # that of one that runs grows
    assert again == runs


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--limit", 1], [GOING]),
        (["--flow-name", "etl"], [BAD, GOOD]),
        (["--flow-name", "etl", "--flow-name", "report"], [GOING, BAD, GOOD]),
        (["--state", "Completed"], [GOOD]),
        (["--state", "completed", "--state", "Running"], [GOING, GOOD]),
        (["--state-type", "failed"], [BAD]),
        (["--tag", "eu"], [BAD, GOOD]),
        (["--tag", "eu", "--tag", "nightly"], [GOOD]),
        (["--since", "2025-10-09T08:54:50Z"], [GOING, BAD]),
        (["--since", "2025-10-09"], [GOING, BAD, GOOD]),
        (["--since", "10m"], []),
        (["--flow-name", "none"], []),
    ],
)
def test_filters(cli, filled, options, names):
    runs = cli("flow-run", "ls", "--json", *options, home=filled).document
    assert [next(name for name in (GOOD, BAD, GOING) if run["name"].startswith(name)) for run in runs] == names


@pytest.mark.parametrize(
    "options", [["--limit", 0], ["--since", "yesterday"], ["--since", "9" * 30 + "d"], ["--state-type", "DONE"]]
)
def test_wrong_filters_are_usage_errors(cli, filled, options):
    result = cli("flow-run", "ls", *options, home=filled)
    assert (result.code, result.out) == (2, "")
    assert str(options[1]) in result.err


def test_nothing_there(cli):
    for noun, message in (("flow-run", "No flow runs."), ("task-run", "No task runs."), ("flow", "No flows.")):
        result = cli(noun, "ls")
        assert (result.code, result.out, result.err.strip()) == (0, "", message)
        assert cli(noun, "ls", "--json").document == []


def test_inspect(cli, filled):
    run_id = id_of(cli, filled, GOOD)
    for reference in (GOOD, run_id, run_id[:8]):
        result = cli("flow-run", "inspect", reference, home=filled)
        assert (result.code, result.err) == (0, "")
    lines = result.rows
    fields = dict(line.split(":", 1) for line in lines[: lines.index("")])
    fields = {name: value.strip() for name, value in fields.items()}
    assert fields["ID"] == run_id
    assert fields["Flow"] == "etl"
    assert fields["State"] == "Completed"
    assert fields["Message"] == "All states completed."
    assert fields["Run time"] == "12.500 s"
    assert fields["Parameter day"] == '"2026-01-31"'
    history = lines[lines.index("States") + 2 : lines.index("States") + 5]
    assert [row.split()[2] for row in history] == ["Pending", "Running", "Completed"]
    assert "250.0 ms" in history[0]
    assert "12.500 s" in history[1]
    assert [row.split() for row in lines[lines.index("Task runs") + 2 :]] == [["Completed", "2"], ["Failed", "1"]]


def test_inspect_as_json(cli, filled):
    document = cli("flow-run", "inspect", GOOD, "--json", home=filled).document
    assert [(state["name"], state["seconds"]) for state in document["states"]] == [
        ("Pending", 0.25),
        ("Running", 12.5),
        ("Completed", None),
    ]
    assert document["task_run_counts"] == {"COMPLETED": 2, "FAILED": 1}
    assert document["flow_name"] == "etl"
    assert document["lost"] == []


def test_a_run_that_is_going_shows_how_long_so_far(cli, filled):
    run_id = id_of(cli, filled, GOING)
    assert "so far" in cli("flow-run", "inspect", run_id, home=filled).out


@pytest.mark.parametrize(
    "command", [("flow-run", "inspect"), ("flow-run", "logs"), ("flow-run", "delete"), ("task-run", "inspect")]
)
def test_a_run_that_is_not_there(cli, filled, command):
    result = cli(*command, "no-such-run", home=filled)
    assert (result.code, result.out) == (1, "")
    assert "no-such-run" in result.err
    assert "Traceback" not in result.err


def test_an_ambiguous_reference_lists_the_candidates(cli, filled):
    result = cli("flow-run", "inspect", "0", home=filled)
    assert result.code == 2
    assert GOOD in result.err
    assert BAD in result.err


def test_logs(cli, filled):
    result = cli("flow-run", "logs", GOOD, home=filled)
    assert result.rows == [
        "2025-10-09 08:53:20.300 | DEBUG   | Flow run 'calm-otter' - beginning",
        "2025-10-09 08:53:21.200 | INFO    | Task run 'load-0' - row 0",
        "2025-10-09 08:53:22.200 | INFO    | Task run 'load-1' - row 1",
        "2025-10-09 08:53:23.200 | WARNING | Task run 'load-2' - row 2",
        "2025-10-09 08:53:32.000 | ERROR   | Flow run 'calm-otter' - two",
        "lines \\x1b[31mred",
    ]


def lines(result):
    return [row.rpartition(" ")[2] for row in result.rows]


@pytest.mark.parametrize(
    ("options", "first", "last", "count"),
    [
        ([], "00", "29", 30),
        (["--head"], "00", "19", 20),
        (["--tail"], "10", "29", 20),
        (["-h", "-n", 3], "00", "02", 3),
        (["-t", "-n", 3], "27", "29", 3),
        (["-n", 3], "00", "02", 3),
        (["--reverse"], "29", "00", 30),
        (["--reverse", "--head", "-n", 3], "02", "00", 3),
        (["--reverse", "--tail", "-n", 3], "29", "27", 3),
    ],
)
def test_parts_of_logs(cli, filled, options, first, last, count):
    shown = lines(cli("flow-run", "logs", BAD, *options, home=filled))
    assert (shown[0], shown[-1], len(shown)) == (first, last, count)


def test_logs_are_read_in_pages(cli, filled, monkeypatch):
    monkeypatch.setattr("riverrun.cli.runs._PAGE", 7)
    assert lines(cli("flow-run", "logs", BAD, home=filled)) == [f"{number:02}" for number in range(30)]
    assert len(lines(cli("flow-run", "logs", BAD, "--tail", home=filled))) == 20


def test_levels_of_logs(cli, filled):
    assert len(cli("flow-run", "logs", GOOD, "--level", "warning", "--json", home=filled).document) == 2
    assert len(cli("flow-run", "logs", GOOD, "--level", 20, "--json", home=filled).document) == 4
    result = cli("flow-run", "logs", GOOD, "--level", "loud", home=filled)
    assert result.code == 2
    assert "loud" in result.err
    assert cli("flow-run", "logs", GOOD, "--head", "--tail", home=filled).code == 2


def test_logs_as_json_keep_what_was_written(cli, filled):
    document = cli("flow-run", "logs", GOOD, "--json", home=filled).document
    assert document[-1]["message"] == "two\nlines \x1b[31mred"
    assert document[-1]["level"] == 40
    assert document[1]["task_run_id"]


def test_task_runs(cli, filled):
    document = cli("task-run", "ls", "--json", "--flow-run", GOOD, home=filled).document
    assert [run["name"] for run in document] == ["load-2", "load-1", "load-0"]
    assert cli("task-run", "ls", "--json", "--flow-run", BAD, home=filled).document == []
    failed = cli("task-run", "ls", "--state-type", "FAILED", home=filled).rows
    assert len(failed) == 2
    assert "load-2" in failed[1]
    inspected = cli("task-run", "inspect", document[0]["id"], home=filled)
    assert "Failed" in inspected.out
    assert "499.0 ms" in inspected.out
    assert [row.rpartition(" ")[2] for row in cli("task-run", "logs", document[0]["id"], home=filled).rows] == ["2"]
    states = cli("task-run", "inspect", document[0]["id"], "--json", home=filled).document["states"]
    assert [state["type"] for state in states] == ["PENDING", "RUNNING", "FAILED"]


def test_flows(cli, filled):
    assert sorted(row.split()[1] for row in cli("flow", "ls", home=filled).rows[1:]) == ["etl", "report"]
    assert len(cli("flow", "ls", "--limit", 1, "--json", home=filled).document) == 1
    assert cli("flows", "ls", "--json", home=filled).document == cli("flow", "ls", "--json", home=filled).document


def test_delete(cli, own):
    result = cli("flow-run", "delete", GOOD, "no-such-run", home=own)
    assert result.code == 1
    assert len(cli("flow-run", "ls", "--json", home=own).document) == 3, "all are found before one is deleted"
    result = cli("flow-run", "delete", GOOD, BAD, home=own)
    assert (result.code, result.out) == (0, "")
    assert GOOD in result.err
    assert [run["name"][:5] for run in cli("flow-run", "ls", "--json", home=own).document] == ["slow-"]
    assert cli("task-run", "ls", "--json", home=own).document == []


def test_delete_asks_when_told_to(own, process):
    result = process("--prompt", "flow-run", "delete", GOOD, home=own)
    assert result.code == 130 or result.code == 1, "nobody answered"
    assert "calm-otter" in result.err
    assert len(process("flow-run", "ls", "--json", home=own).document) == 3
