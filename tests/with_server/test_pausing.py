"""Pausing, suspending, input: through a server, in sync and async code."""

from tests.with_server.conftest import Place, until

HEAD = """
import asyncio, sys, time
from riverrun import flow, pause_flow_run, suspend_flow_run, task
from riverrun.input import RunInput, receive_input, send_input
from riverrun.runtime import flow_run
from uuid import UUID

class Question(RunInput):
    number: int
    word: str = "none"

"""


def resume(place: Place, run_id: str, **body: object) -> str:
    until(lambda: place.state(run_id) in ("Paused", "Suspended"))
    # the schema of an input is left with the run just after the state
    return str(until(lambda: _resumed(place, run_id, body)))


def _resumed(place: Place, run_id: str, body: object) -> str | None:
    answer = place.api.post(f"/flow_runs/{run_id}/resume", json=body).json()
    waits = "is not there" in (answer["details"].get("reason") or "")
    return None if waits else answer["status"]


def test_a_paused_run_goes_on_when_it_is_resumed(place: Place) -> None:
    script = place.start(
        HEAD
        + """
@flow
def pauses():
    print(flow_run.id)
    pause_flow_run(timeout=20)
    print("goes on")
    pause_flow_run(timeout=20)

pauses()
"""
    )
    run_id = script.said()
    assert resume(place, run_id) == "ACCEPT"
    assert script.said() == "goes on"
    assert resume(place, run_id) == "ACCEPT"
    assert script.ended() == 0
    assert place.states(run_id) == ["Pending", "Running", "Paused", "Running", "Paused", "Running", "Completed"]


def test_a_pause_in_async_code(place: Place) -> None:
    script = place.start(
        HEAD
        + """
@flow
async def pauses():
    print(flow_run.id)
    answer = await pause_flow_run(wait_for_input=Question, timeout=20)
    print(answer.number, answer.word)

asyncio.run(pauses())
"""
    )
    run_id = script.said()
    assert resume(place, run_id, run_input={"number": "five"}) == "REJECT"
    assert resume(place, run_id, run_input={"number": 5}) == "ACCEPT"
    assert script.said() == "5 none"
    assert script.ended() == 0


def test_a_pause_waits_for_plain_values_and_for_defaults(place: Place) -> None:
    script = place.start(
        HEAD
        + """
@flow
def pauses():
    print(flow_run.id)
    print(pause_flow_run(wait_for_input=list[int], timeout=20))
    print(pause_flow_run(wait_for_input=Question.with_initial_data(description="How many?", number=7), timeout=20).number)

pauses()
"""
    )
    run_id = script.said()
    assert resume(place, run_id, run_input={"value": [1, 2]}) == "ACCEPT"
    assert script.said() == "[1, 2]"
    until(lambda: place.state(run_id) == "Paused")
    description = f"/flow_runs/{run_id}/input/paused-2-description"
    until(lambda: place.api.get(description).status_code == 200)
    assert place.api.get(description).json() == "How many?"
    assert resume(place, run_id) == "ACCEPT"
    assert script.said() == "7"


def test_a_run_that_is_not_resumed_fails(place: Place) -> None:
    script = place.start(
        HEAD
        + """
@flow
def pauses():
    print(flow_run.id)
    pause_flow_run(timeout=0.3)

print(pauses(return_state=True).message)
"""
    )
    run_id = script.said()
    assert "FlowPauseTimeout" in script.said()
    assert script.ended() == 0
    assert place.state(run_id) == "Failed"


def test_a_paused_run_can_be_cancelled(place: Place) -> None:
    script = place.start(
        HEAD
        + """
@flow
def pauses():
    print(flow_run.id)
    pause_flow_run(timeout=60)

print(pauses(return_state=True).name)
"""
    )
    run_id = script.said()
    until(lambda: place.state(run_id) == "Paused")
    place.api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLING"}})
    assert script.said() == "Cancelled"


def test_only_runs_of_deployments_are_suspended(place: Place) -> None:
    script = place.start(
        HEAD
        + """
@flow
def suspends():
    print(flow_run.id)
    suspend_flow_run()

print(suspends(return_state=True).message)
"""
    )
    script.said()
    assert "cannot be suspended" in script.said()


def test_a_suspended_run_goes_on_in_another_process(place: Place) -> None:
    place.write(
        HEAD
        + """
@task(persist_result=True)
def once():
    print("once", flush=True)
    return 1

@flow(persist_result=True)
def main(word: str):
    print("begins", flow_run.run_count, flush=True)
    once()
    answer = suspend_flow_run(wait_for_input=Question, timeout=60)
    print("went on", word, answer.number, flush=True)
""",
        "flows.py",
    )
    flow_id = place.api.post("/flows/", json={"name": "main"}).json()["id"]
    deployment = {"name": "d", "flow_id": flow_id, "entrypoint": "flows.py:main", "path": str(place.path)}
    deployment_id = place.api.post("/deployments/", json=deployment).json()["id"]
    made = place.api.post(f"/deployments/{deployment_id}/create_flow_run", json={"parameters": {"word": "x"}})
    run_id = made.json()["id"]
    first = place.command("riverrun.engine", run_id)
    assert (first.stdout, first.returncode) == ("begins 1\nonce\n", 0), first.stderr
    assert place.state(run_id) == "Suspended"
    assert resume(place, run_id, run_input={"number": 3}) == "ACCEPT"
    second = place.command("riverrun.engine", run_id)
    assert (second.stdout, second.returncode) == ("begins 1\nwent on x 3\n", 0), second.stderr
    assert place.states(run_id)[-3:] == ["Pending", "Running", "Completed"]


def test_flows_send_each_other_input(place: Place) -> None:
    script = place.start(
        HEAD
        + """
@flow
def receives():
    print(flow_run.id)
    for number in receive_input(int, timeout=20, poll_interval=0.1):
        print("number", number)
        break
    question = Question.receive(timeout=20).next()
    print("question", question.number, question.metadata.sender.split(".")[1])
    question.respond(Question(number=question.number + 1))

receives()
"""
    )
    receiver = script.said()
    until(lambda: place.state(receiver) == "Running")
    other = Place(place.path / "other", beside=place)
    other.path.mkdir()
    try:
        sender = other.start(
            HEAD
            + """
@flow
async def sends(receiver):
    await send_input(4, receiver)
    await Question(number=1).send_to(receiver)
    async for answer in Question.receive(timeout=20):
        print("answer", answer.number)
        break

asyncio.run(sends(UUID(sys.argv[1])))
""",
            receiver,
        )
        assert sender.said() == "answer 2"
        assert sender.ended() == 0
    finally:
        other.close()
    assert script.ended() == 0
    assert script.lines[1:] == ["number 4", "question 1 flow-run"]


def test_a_run_that_is_suspended_from_outside_leaves_its_process(place: Place) -> None:
    place.write(
        HEAD
        + """
@flow
def main():
    print("begins", flush=True)
    time.sleep(30)
    print("never said", flush=True)
""",
        "flows.py",
    )
    flow_id = place.api.post("/flows/", json={"name": "main"}).json()["id"]
    deployment = {"name": "d", "flow_id": flow_id, "entrypoint": "flows.py:main", "path": str(place.path)}
    deployment_id = place.api.post("/deployments/", json=deployment).json()["id"]
    run_id = place.api.post(f"/deployments/{deployment_id}/create_flow_run", json={}).json()["id"]
    script = place.start(
        f"from uuid import UUID\nfrom riverrun.execution import execute_flow_run\nexecute_flow_run(UUID('{run_id}'))\n"
    )
    assert script.said() == "begins"
    details = {"pause_reschedule": True, "pause_key": "1"}
    state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    answer = place.api.post(f"/flow_runs/{run_id}/set_state", json={"state": state}).json()
    assert answer["status"] == "ACCEPT"
    script.ended()
    assert "never said" not in script.lines
    assert place.states(run_id)[-2:] == ["Running", "Suspended"]
