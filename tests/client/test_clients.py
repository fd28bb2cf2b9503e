"""The two clients of `get_client`, against riverrun's server and the peer's."""

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

import riverrun
from riverrun import flow, task
from riverrun.base import errors
from riverrun.base.config import temporary_settings
from riverrun.client import orchestration
from riverrun.client.orchestration import RiverrunClient, ServerType, SyncRiverrunClient, get_client
from riverrun.client.orchestration.runs import proposal
from riverrun.client.schemas import actions, filters, schedules, sorting
from riverrun.client.schemas.objects import FlowRun, State, StateType
from riverrun.client.utilities import client_injector, inject_client
from riverrun.result_records import ResultRecordMetadata
from riverrun.serializers import PickleSerializer
from riverrun.states import Completed, Paused, Running, Scheduled

Client = SyncRiverrunClient


@flow(name="client-tests", version="v1", retries=2, retry_delay_seconds=3)
def a_flow(x: int = 1) -> int:
    return x


@task(name="a-task", tags=["t1"], retries=1, retry_delay_seconds=[1, 2])
def a_task() -> None: ...


def fresh(prefix: str = "n") -> str:
    return f"{prefix}{uuid4().hex[:10]}"


@pytest.fixture
def run(client: Client) -> FlowRun:
    return client.create_flow_run(a_flow, parameters={"x": 2}, tags=["one"])


def test_parameters_stay_the_objects_that_they_are(client: Client) -> None:
    given = {"x": {1, 2}}
    made = client.create_flow_run(a_flow, parameters=given)
    assert made.parameters is given
    assert sorted(client.read_flow_run(made.id).parameters["x"]) == [1, 2]


# -- what they are ----------------------------------------------------------------------------------------------------------


def test_where_they_are_found() -> None:
    assert riverrun.get_client is get_client
    assert riverrun.client.get_client is get_client
    assert orchestration.PrefectClient is RiverrunClient
    assert orchestration.SyncPrefectClient is SyncRiverrunClient


#: methods that code written for the peer's clients calls
KNOWN = """
api_healthcheck api_version client_version count_flow_runs create_artifact create_automation create_block_document
create_block_schema create_block_type create_concurrency_limit create_deployment create_deployment_schedules create_flow
create_flow_from_name create_flow_run create_flow_run_from_deployment create_flow_run_input
create_global_concurrency_limit create_logs create_task_run create_variable create_work_pool create_work_queue
decrement_v1_concurrency_slots delete_artifact delete_automation delete_block_document delete_block_type
delete_concurrency_limit_by_tag delete_deployment delete_deployment_schedule delete_flow delete_flow_run
delete_flow_run_input delete_global_concurrency_limit_by_name delete_resource_owned_automations delete_task_run
delete_variable_by_name delete_work_pool delete_work_queue_by_id filter_flow_run_input find_automation
get_most_recent_block_schema_for_block_type get_runs_in_work_queue get_scheduled_flow_runs_for_deployments
get_scheduled_flow_runs_for_work_pool hello increment_concurrency_slots increment_concurrency_slots_with_lease
increment_v1_concurrency_slots match_work_queues pause_automation pause_deployment raise_for_api_version_mismatch
read_artifacts read_automation read_automations read_automations_by_name read_block_document
read_block_document_by_name read_block_documents read_block_documents_by_type read_block_schema_by_checksum
read_block_schemas read_block_type_by_slug read_block_types read_concurrency_limit_by_tag read_concurrency_limits
read_deployment read_deployment_by_name read_deployment_schedules read_deployments read_events read_events_page read_flow
read_flow_by_name read_flow_run read_flow_run_input read_flow_run_state read_flow_run_states read_flow_runs read_flows
read_global_concurrency_limit_by_name read_global_concurrency_limits read_latest_artifacts read_logs
read_resource_related_automations read_server_default_result_storage read_task_run read_task_run_states read_task_runs
read_variable_by_name read_variables read_work_pool read_work_pool_concurrency_status read_work_pools read_work_queue
read_work_queue_by_name read_work_queue_concurrency_status read_work_queue_status read_work_queues read_worker_metadata
read_workers_for_work_pool release_concurrency_slots release_concurrency_slots_with_lease renew_concurrency_lease request
reset_concurrency_limit_by_tag resume_automation resume_deployment resume_flow_run send_worker_heartbeat
set_deployment_paused_state set_flow_run_name set_flow_run_state set_task_run_name set_task_run_state update_artifact
update_automation update_block_document update_block_type update_deployment update_deployment_schedule update_flow_run
update_flow_run_labels update_global_concurrency_limit update_server_default_result_storage update_variable
update_work_pool update_work_queue upsert_global_concurrency_limit_by_name clear_server_default_result_storage
""".split()


@pytest.mark.parametrize("name", KNOWN)
def test_both_clients_have_the_methods_that_users_know(name: str) -> None:
    blocking, awaited = getattr(SyncRiverrunClient(), name), getattr(RiverrunClient(), name)
    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert blocking.__name__ == awaited.__name__ == name
    assert not inspect.iscoroutinefunction(blocking)
    assert inspect.iscoroutinefunction(awaited) or name == "client_version"


def test_a_client_that_is_not_open() -> None:
    with pytest.raises(errors.MissingContextError, match="`with`"):
        get_client(sync_client=True).hello()


def test_a_client_that_was_closed(at_server: str) -> None:
    with SyncRiverrunClient(at_server) as client:
        with client:
            client.read_flows()
        client.read_flows()
        with pytest.raises(ValueError, match="'daily' is not the id of a deployment"):
            client.read_deployment("daily")
    with pytest.raises(RuntimeError, match="has been closed"):
        client.read_flows()
    with client:
        client.read_flows()


def test_the_awaited_client_is_not_for_sync_code() -> None:
    with pytest.raises(RuntimeError, match="sync_client=True"), get_client():
        pass


def test_the_same_in_async_code(at_server: str) -> None:
    async def talk() -> None:
        async with get_client() as client:
            assert (await client.hello()).json() == "👋"
            flow_id = await client.create_flow(a_flow)
            made = await client.create_flow_run(a_flow)
            assert made.flow_id == flow_id
            result = await client.set_flow_run_state(made.id, Running())
            assert result.status == "ACCEPT"
            with pytest.raises(errors.ObjectNotFound):
                await client.read_flow_run(uuid4())
            assert (await client._client.get("/health")).json() is True

    asyncio.run(talk())


def test_the_server(client: Client, at_server: str) -> None:
    assert client.api_healthcheck() is None
    assert client.api_version().startswith("3.")
    client.raise_for_api_version_mismatch()
    assert str(client.api_url) == f"{at_server}/"
    assert client.server_type == ServerType.SERVER
    assert client.client_version() == riverrun.__version__
    assert client.read_server_default_result_storage().default_result_storage_block_id is None


def test_health_of_what_cannot_be_reached() -> None:
    with (
        temporary_settings({"api_url": "http://127.0.0.1:1/api", "client_max_retries": 0}),
        get_client(sync_client=True) as client,
    ):
        assert isinstance(client.api_healthcheck(), errors.UnavailableError)


def test_settings_of_the_http_client(at_server: str) -> None:
    with get_client(sync_client=True, httpx_settings={"headers": {"X-Mine": "1"}, "timeout": 7}) as client:
        assert client._client.headers["x-mine"] == "1"
        assert client._client.timeout == httpx.Timeout(7)
        assert client.hello().request.headers["x-mine"] == "1"
        inner = client._client
    assert inner.is_closed


def test_any_request(client: Client) -> None:
    flow_id = client.create_flow_from_name("client-tests")
    found = client.request("GET", "/flows/{id}", path_params={"id": flow_id})
    assert found.json()["name"] == "client-tests"
    made = client.request("POST", "/flows/", json={"name": "client-tests"})
    assert made.json()["id"] == str(flow_id)
    with pytest.raises(errors.ObjectNotFound):
        client.request("GET", "/flows/{id}", path_params={"id": uuid4()})


# -- flows and runs ---------------------------------------------------------------------------------------------------------


def test_flows(client: Client) -> None:
    flow_id = client.create_flow(a_flow)
    assert isinstance(flow_id, UUID)
    assert client.create_flow_from_name("client-tests") == flow_id
    assert client.read_flow(flow_id).name == "client-tests"
    assert client.read_flow_by_name("client-tests").id == flow_id
    wanted = filters.FlowFilter(name=filters.FlowFilterName(any_=["client-tests"]))
    assert [each.id for each in client.read_flows(flow_filter=wanted, sort=sorting.FlowSort.NAME_ASC)] == [flow_id]
    gone = client.create_flow_from_name(fresh())
    client.delete_flow(gone)
    with pytest.raises(errors.ObjectNotFound, match=str(gone)):
        client.read_flow(gone)


def test_a_run_as_it_was_made(client: Client, run: FlowRun) -> None:
    read = client.read_flow_run(run.id)
    assert read.parameters == {"x": 2}
    assert read.tags == ["one"]
    assert read.flow_version == "v1"
    assert (read.empirical_policy.retries, read.empirical_policy.retry_delay) == (2, 3)
    assert read.state is not None
    assert read.state.is_pending()
    assert isinstance(read.state, State)
    assert isinstance(read.created, datetime)
    dumped = read.model_dump(mode="json")
    assert dumped["id"] == str(run.id)
    assert dumped["state"]["type"] == "PENDING"


def test_states(client: Client, run: FlowRun) -> None:
    assert client.set_flow_run_state(run.id, Running()).status == "ACCEPT"
    answer = client.set_flow_run_state(str(run.id), Completed(message="done"))
    assert answer.state is not None
    assert answer.state.is_completed()
    assert answer.state.state_details.flow_run_id == run.id
    states = client.read_flow_run_states(run.id)
    assert [state.type for state in states] == ["PENDING", "RUNNING", "COMPLETED"]
    assert client.read_flow_run_state(states[-1].id).message == "done"
    read = client.read_flow_run(run.id)
    assert read.run_count == 1
    assert read.total_run_time > timedelta(0)
    refused = client.set_flow_run_state(run.id, Paused())
    assert refused.status == "ABORT"
    assert refused.details.reason
    assert client.set_flow_run_state(run.id, Running(), force=True).status == "ACCEPT"


def test_each_proposal_has_a_transition_of_its_own() -> None:
    """A repetition of the request is then told from another proposal of the same state, which stays as it was."""
    state = Running()
    first, second = proposal(state), proposal(state)
    assert first.state_details.transition_id not in {None, second.state_details.transition_id}
    assert state.state_details.transition_id is None


def test_results_go_as_where_they_lie(client: Client, run: FlowRun) -> None:
    where = ResultRecordMetadata(storage_key="/nowhere/x", serializer=PickleSerializer())
    client.set_flow_run_state(run.id, Running())
    client.set_flow_run_state(run.id, Completed(data=where))
    read = client.read_flow_run(run.id).state
    assert read is not None
    assert isinstance(read.data, ResultRecordMetadata)
    assert read.data.storage_key == "/nowhere/x"


def test_values_do_not_travel(client: Client, run: FlowRun) -> None:
    client.set_flow_run_state(run.id, Running())
    client.set_flow_run_state(run.id, Completed(data={"secret": 1}))
    state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.data in (None, {"secret": 1})  # a mapping is taken for metadata; objects are not sent
    with pytest.raises(errors.InputError, match="not the id of a run"):
        client.set_flow_run_state("nonsense", Running())


def test_changes_of_a_run(client: Client, run: FlowRun) -> None:
    assert client.update_flow_run(run.id, name="renamed", tags={"two"}).status_code == 204
    client.set_flow_run_name(run.id, "again")
    client.update_flow_run_labels(run.id, {"team": "a"})
    read = client.read_flow_run(run.id)
    assert (read.name, read.tags, read.parameters) == ("again", ["two"], {"x": 2})
    assert read.labels["team"] == "a"
    client.delete_flow_run(run.id)
    with pytest.raises(errors.ObjectNotFound):
        client.read_flow_run(run.id)


def test_lists_of_runs(client: Client) -> None:
    name = fresh()
    ids = [client.create_flow_run(a_flow, name=f"{name}-{number}").id for number in range(3)]
    wanted = filters.FlowRunFilter(
        name={"like_": name},
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.PENDING])),
    )
    found = client.read_flow_runs(
        flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=["client-tests"])),
        flow_run_filter=wanted,
        sort=sorting.FlowRunSort.NAME_DESC,
        limit=2,
    )
    assert [each.id for each in found] == ids[:0:-1]
    assert client.read_flow_runs(flow_run_filter=wanted, sort="NAME_DESC", offset=2)[0].id == ids[0]
    assert client.count_flow_runs(flow_run_filter=wanted) == 3


def test_inputs(client: Client, run: FlowRun) -> None:
    client.create_flow_run_input(run.id, "key-1", '{"a": 1}', sender="me")
    with pytest.raises(errors.ObjectAlreadyExists):
        client.create_flow_run_input(run.id, "key-1", "2")
    assert client.read_flow_run_input(run.id, "key-1") == '{"a": 1}'
    assert [each.key for each in client.filter_flow_run_input(run.id, "key", 5, set())] == ["key-1"]
    assert client.filter_flow_run_input(run.id, "key", 5, {"key-1"}) == []
    client.delete_flow_run_input(run.id, "key-1")
    with pytest.raises(errors.ObjectNotFound, match="key-1"):
        client.read_flow_run_input(run.id, "key-1")


def test_task_runs(client: Client, run: FlowRun) -> None:
    made = client.create_task_run(a_task, run.id, "0", extra_tags=["t2"], name="first")
    read = client.read_task_run(made.id)
    assert (read.name, sorted(read.tags), read.task_key) == ("first", ["t1", "t2"], a_task.task_key)
    assert (read.empirical_policy.retries, read.empirical_policy.retry_delay) == (1, [1, 2])
    client.set_flow_run_state(run.id, Running())
    assert client.set_task_run_state(made.id, Running()).status == "ACCEPT"
    assert [state.name for state in client.read_task_run_states(made.id)] == ["Pending", "Running"]
    client.set_task_run_name(made.id, "renamed")
    of_run = filters.TaskRunFilter(flow_run_id=filters.TaskRunFilterFlowRunId(any_=[run.id]))
    assert [each.name for each in client.read_task_runs(task_run_filter=of_run)] == ["renamed"]
    client.delete_task_run(made.id)
    with pytest.raises(errors.ObjectNotFound):
        client.read_task_run(made.id)


def test_logs(client: Client, run: FlowRun) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    line = actions.LogCreate(name="mine", level=30, message="careful", timestamp=at, flow_run_id=run.id)
    client.create_logs([line])
    wanted = filters.LogFilter(flow_run_id=filters.LogFilterFlowRunId(any_=[run.id]))
    found = client.read_logs(wanted, limit=5, sort=sorting.LogSort.TIMESTAMP_DESC)
    assert [(each.message, each.timestamp) for each in found] == [("careful", at)]


# -- work -------------------------------------------------------------------------------------------------------------------


def test_deployments(client: Client) -> None:
    flow_id, name = client.create_flow(a_flow), fresh("d")
    cron = actions.DeploymentScheduleCreate(schedule=schedules.CronSchedule("0 0 1 1 *", timezone="Europe/Berlin"))
    made = client.create_deployment(flow_id, name, schedules=[cron], parameters={"x": 3}, tags=["a"])
    assert client.create_deployment(flow_id, name, schedules=[cron], parameters={"x": 4}) == made
    read = client.read_deployment_by_name(f"client-tests/{name}")
    assert (read.id, read.parameters, read.schedules[0].schedule.cron) == (made, {"x": 4}, "0 0 1 1 *")
    assert client.read_deployment(str(made)).name == name
    wanted = filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=[name]))
    assert [each.id for each in client.read_deployments(deployment_filter=wanted)] == [made]
    client.update_deployment(made, actions.DeploymentUpdate(description="told"))
    client.set_deployment_paused_state(made, True)
    assert client.read_deployment(made).paused
    client.resume_deployment(made)
    read = client.read_deployment(made)
    assert (read.description, read.paused) == ("told", False)
    hourly = schedules.IntervalSchedule(timedelta(hours=1))
    [added] = client.create_deployment_schedules(made, [(hourly, True)])
    assert added.schedule == hourly
    client.update_deployment_schedule(made, added.id, active=False)
    assert [each.active for each in client.read_deployment_schedules(made) if each.id == added.id] == [False]
    client.delete_deployment_schedule(made, added.id)
    assert added.id not in [each.id for each in client.read_deployment_schedules(made)]
    client.delete_deployment(made)
    with pytest.raises(errors.ObjectNotFound):
        client.read_deployment(made)


@pytest.mark.parametrize("name", ["", "flow", "flow/", "/deployment"])
def test_names_of_deployments(client: Client, name: str) -> None:
    with pytest.raises(errors.InputError, match="my-flow/daily"):
        client.read_deployment_by_name(name)


def test_runs_of_deployments(client: Client) -> None:
    made = client.create_deployment(client.create_flow(a_flow), fresh("d"), parameters={"x": 3})
    key = fresh()
    run = client.create_flow_run_from_deployment(made, parameters={"x": 5}, idempotency_key=key, labels={"a": "b"})
    assert client.create_flow_run_from_deployment(made, idempotency_key=key).id == run.id
    assert (run.deployment_id, run.parameters) == (made, {"x": 5})
    assert run.state is not None
    assert run.state.is_scheduled()
    later = datetime.now(UTC) + timedelta(days=2)
    client.create_flow_run_from_deployment(made, state=Scheduled(scheduled_time=later))
    due = client.get_scheduled_flow_runs_for_deployments([made], scheduled_before=datetime.now(UTC))
    assert [each.id for each in due] == [run.id]


def test_work_pools_and_queues(client: Client) -> None:
    name = fresh("p")
    pool = client.create_work_pool(actions.WorkPoolCreate(name=name, type="process"))
    with pytest.raises(errors.ObjectAlreadyExists):
        client.create_work_pool(actions.WorkPoolCreate(name=name, type="process"))
    changed = client.create_work_pool(
        actions.WorkPoolCreate(name=name, description="d", type="process"), overwrite=True
    )
    assert (changed.id, changed.description) == (pool.id, "d")
    client.update_work_pool(name, actions.WorkPoolUpdate(concurrency_limit=3))
    assert client.read_work_pool(name).concurrency_limit == 3
    wanted = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[name]))
    assert [each.id for each in client.read_work_pools(work_pool_filter=wanted)] == [pool.id]
    queue = client.create_work_queue("quick", work_pool_name=name, priority=1)
    assert client.read_work_queue_by_name("quick", name).id == queue.id
    assert {each.name for each in client.read_work_queues(name)} == {"default", "quick"}
    assert [each.name for each in client.match_work_queues(["qui"], name)] == ["quick"]
    client.update_work_queue(queue.id, is_paused=True)
    assert client.read_work_queue(queue.id).is_paused
    with pytest.raises(errors.InputError, match="cannot be changed so"):
        client.update_work_queue(queue.id, is_paused=3)
    client.send_worker_heartbeat(name, "w1", 30)
    assert [each.name for each in client.read_workers_for_work_pool(name)] == ["w1"]
    client.delete_work_queue_by_id(queue.id)
    client.delete_work_pool(name)
    with pytest.raises(errors.ObjectNotFound, match=name):
        client.read_work_pool(name)


def test_work_for_a_worker(client: Client) -> None:
    name = fresh("p")
    pool = client.create_work_pool(actions.WorkPoolCreate(name=name, type="process"))
    made = client.create_deployment(client.create_flow(a_flow), fresh("d"), work_pool_name=name)
    run = client.create_flow_run_from_deployment(made)
    [work] = client.get_scheduled_flow_runs_for_work_pool(name, scheduled_before=datetime.now(UTC) + timedelta(1))
    assert work.flow_run.id == run.id
    assert work.flow_run.state_type == StateType.SCHEDULED
    assert work.work_pool_id == pool.id
    queue = client.read_work_queue_by_name("default", name)
    soon = datetime.now(UTC) + timedelta(1)
    found = {each.id for each in client.get_runs_in_work_queue(queue.id, scheduled_before=soon)}
    assert found <= {run.id}  # the peer gives none here
    assert client.read_work_queue_status(queue.id).healthy in {True, False}
    assert client.read_work_pool_concurrency_status(name).active_slots == 0
    assert client.read_work_queue_concurrency_status(queue.id).active_slots == 0
    assert "process" in client.read_worker_metadata()["prefect"]


# -- everything else ----------------------------------------------------------------------------------------------------------


def test_variables(client: Client) -> None:
    name = fresh("v_")
    assert client.read_variable_by_name(name) is None
    client.create_variable(actions.VariableCreate(name=name, value={"a": [1, None]}, tags=["t"]))
    read = client.read_variable_by_name(name)
    assert read is not None
    assert read.value == {"a": [1, None]}
    client.update_variable(actions.VariableUpdate(name=name, value=2))
    changed = client.read_variable_by_name(name)
    assert changed is not None
    assert (changed.value, changed.tags) == (2, ["t"])
    assert name in [each.name for each in client.read_variables()]
    with pytest.raises(errors.InputError, match="name"):
        client.update_variable(actions.VariableUpdate(value=2))
    client.delete_variable_by_name(name)
    with pytest.raises(errors.ObjectNotFound, match=name):
        client.delete_variable_by_name(name)


def test_artifacts(client: Client, run: FlowRun) -> None:
    key = fresh("k-")
    for data in ("one", "two"):
        made = client.create_artifact(
            actions.ArtifactCreate(key=key, type="markdown", data=data, flow_run_id=run.id, description="d")
        )
    wanted = filters.ArtifactFilter(key=filters.ArtifactFilterKey(any_=[key]))
    assert {each.data for each in client.read_artifacts(artifact_filter=wanted)} == {"one", "two"}
    latest = filters.ArtifactCollectionFilter(key=filters.ArtifactCollectionFilterKey(any_=[key]))
    assert [each.latest_id for each in client.read_latest_artifacts(artifact_filter=latest)] == [made.id]
    client.update_artifact(made.id, actions.ArtifactUpdate(data="three"))
    [read] = client.read_artifacts(artifact_filter=filters.ArtifactFilter(id={"any_": [made.id]}))
    assert (read.data, read.description) == ("three", "d")
    client.delete_artifact(made.id)
    with pytest.raises(errors.ObjectNotFound):
        client.delete_artifact(made.id)


def test_blocks(client: Client) -> None:
    slug = fresh("b")
    made = client.create_block_type(actions.BlockTypeCreate(name=slug, slug=slug))
    client.update_block_type(made.id, actions.BlockTypeUpdate(description="told"))
    assert client.read_block_type_by_slug(slug).description == "told"
    assert slug in [each.slug for each in client.read_block_types()]
    fields = {"title": "B", "type": "object", "properties": {"x": {"type": "string"}}, "secret_fields": ["x"]}
    schema = client.create_block_schema(actions.BlockSchemaCreate(block_type_id=made.id, fields=fields))
    assert client.read_block_schema_by_checksum(schema.checksum).id == schema.id
    newest = client.get_most_recent_block_schema_for_block_type(made.id)
    assert newest is not None
    assert newest.id == schema.id
    body = actions.BlockDocumentCreate(name="doc", data={"x": "hush"}, block_schema_id=schema.id, block_type_id=made.id)
    document = client.create_block_document(body)
    assert client.read_block_document(document.id).data == {"x": "hush"}
    assert client.read_block_document_by_name("doc", slug, include_secrets=False).data == {"x": "********"}
    assert [each.id for each in client.read_block_documents_by_type(slug, limit=1)] == [document.id]
    assert document.id in [each.id for each in client.read_block_documents()]
    client.update_block_document(document.id, actions.BlockDocumentUpdate(data={"x": "still"}))
    assert client.read_block_document(document.id).data == {"x": "still"}
    client.delete_block_document(document.id)
    client.delete_block_type(made.id)
    with pytest.raises(errors.ObjectNotFound, match=slug):
        client.read_block_type_by_slug(slug)


def test_limits_of_tags(client: Client) -> None:
    tag = fresh("t")
    client.create_concurrency_limit(tag, 1)
    assert client.read_concurrency_limit_by_tag(tag).concurrency_limit == 1
    assert tag in [each.tag for each in client.read_concurrency_limits(limit=200, offset=0)]
    holder = uuid4()
    client.increment_v1_concurrency_slots([tag], holder)
    assert client.read_concurrency_limit_by_tag(tag).active_slots == [holder]
    client.decrement_v1_concurrency_slots([tag], holder, 1.0)
    client.reset_concurrency_limit_by_tag(tag)
    client.delete_concurrency_limit_by_tag(tag)
    with pytest.raises(errors.ObjectNotFound, match=tag):
        client.read_concurrency_limit_by_tag(tag)


def test_limits_with_names(client: Client) -> None:
    name = fresh("g")
    client.create_global_concurrency_limit(actions.GlobalConcurrencyLimitCreate(name=name, limit=1))
    client.update_global_concurrency_limit(name, actions.GlobalConcurrencyLimitUpdate(limit=2))
    client.upsert_global_concurrency_limit_by_name(name, 3)
    assert client.read_global_concurrency_limit_by_name(name).limit == 3
    assert name in [each.name for each in client.read_global_concurrency_limits(limit=200)]
    assert client.increment_concurrency_slots([name], 1, "concurrency").json()[0]["name"] == name
    lease = client.increment_concurrency_slots_with_lease([name], 2, "concurrency", 60).json()["lease_id"]
    with pytest.raises(errors.RequestConflict) as full:
        client.increment_concurrency_slots([name], 1, "concurrency")
    assert full.value.response.status_code == 423
    assert float(full.value.response.headers["retry-after"]) > 0
    client.renew_concurrency_lease(UUID(lease), 60)
    client.release_concurrency_slots_with_lease(UUID(lease))
    client.release_concurrency_slots([name], 1, 0.5)
    assert client.read_global_concurrency_limit_by_name(name).active_slots == 0
    client.delete_global_concurrency_limit_by_name(name)
    client.upsert_global_concurrency_limit_by_name(name, 4)
    assert client.read_global_concurrency_limit_by_name(name).limit == 4


def test_automations(client: Client) -> None:
    name = fresh("A")
    trigger = {"type": "event", "posture": "Reactive", "expect": ["x"], "threshold": 1, "within": 0}
    made = client.create_automation({"name": name, "trigger": trigger, "actions": [{"type": "do-nothing"}]})
    read = client.read_automation(made)
    assert read is not None
    assert read.enabled
    assert [each.id for each in client.read_automations_by_name(name)] == [made]
    for key in (str(made), made, name, name.lower()):
        found = client.find_automation(key)
        assert found is not None
        assert found.id == made
    assert client.find_automation(uuid4()) is None
    client.pause_automation(made)
    paused = client.read_automation(made)
    assert paused is not None
    assert not paused.enabled
    client.update_automation(made, read)
    resumed = client.read_automation(made)
    assert resumed is not None
    assert resumed.enabled
    with pytest.raises(errors.InputError, match="no automation"):
        client.create_automation({"name": name})
    client.delete_automation(made)
    assert client.read_automation(made) is None


def test_events(client: Client) -> None:
    page = client.read_events(limit=1)
    assert page.total >= len(page.events)
    if page.next_page:
        assert client.read_events_page(page.next_page).total == page.total
    with pytest.raises(errors.InputError, match="page-token"):
        client.read_events_page("http://x/api/events/filter/next")


def test_clients_are_handed_through(at_server: str) -> None:
    @inject_client
    async def hello(word: str, client: RiverrunClient | None = None) -> str:
        assert client is not None
        return f"{word} {(await client.hello()).json()}"

    @client_injector
    async def version(client: RiverrunClient, major: str) -> bool:
        return (await client.api_version()).startswith(major)

    async def both() -> None:
        assert await hello("hi") == "hi 👋"
        async with get_client() as client:
            assert await hello("again", client=client) == "again 👋"
            assert (await client.hello()).is_success  # still open
        assert await version("3")

    asyncio.run(both())
