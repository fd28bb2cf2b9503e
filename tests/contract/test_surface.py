"""Names, modules and signatures that users of the peer import and call: an import swap must find them all."""

import importlib
import inspect

import pytest

from .sdk import SDK, import_module, riverrun_only, task

NAMES = {
    "": """allow_failure apause_flow_run aresume_flow_run asuspend_flow_run flow Flow get_run_logger pause_flow_run
        resume_flow_run suspend_flow_run State tags task Task Transaction unmapped""",
    "flows": "Flow flow load_flow_from_entrypoint",
    "flow_runs": """apause_flow_run aresume_flow_run asuspend_flow_run pause_flow_run resume_flow_run suspend_flow_run
        wait_for_flow_run""",
    "input": """GetInputHandler Keyset RunInput create_flow_run_input delete_flow_run_input filter_flow_run_input
        keyset_from_base_key keyset_from_paused_state read_flow_run_input""",
    "input.run_input": """AutomaticRunInput GetAutomaticInputHandler RunInput RunInputMetadata asend_input receive_input
        run_input_subclass_from_type send_input""",
    "task_worker": "StopTaskWorker TaskWorker aserve serve",
    "tasks": "Task exponential_backoff task task_input_hash",
    "states": """AwaitingConcurrencySlot AwaitingRetry Cancelled Cancelling Completed Crashed Failed Late Paused Pending
        Retrying Running Scheduled State StateGroup Suspended aget_state_exception araise_state_exception
        exception_to_crashed_state exception_to_failed_state format_exception get_state_exception get_state_result
        is_state_iterable raise_state_exception return_value_to_state""",
    "futures": """PrefectConcurrentFuture PrefectFuture PrefectFutureList PrefectTaskRunFuture PrefectWrappedFuture
        as_completed resolve_futures_to_results resolve_futures_to_states wait""",
    "task_runners": "ConcurrentTaskRunner ProcessPoolTaskRunner TaskRunner ThreadPoolTaskRunner",
    "cache_policies": """CacheKeyFnPolicy CachePolicy CompoundCachePolicy DEFAULT FLOW_PARAMETERS FlowParameters INPUTS Inputs
        NO_CACHE NONE RUN_ID RunId TASK_SOURCE TaskSource""",
    "results": "ResultStore get_default_result_storage get_result_store should_persist_result",
    "serializers": """CompressedJSONSerializer CompressedPickleSerializer CompressedSerializer JSONSerializer PickleSerializer
        Serializer""",
    "transactions": """AsyncTransaction CommitMode IsolationLevel Transaction TransactionState atransaction get_transaction
        transaction""",
    "context": "ContextModel EngineContext FlowRunContext RunContext SettingsContext TagsContext TaskRunContext get_run_context tags",
    "runtime": "deployment flow_run task_run",
    "logging": "disable_run_logger get_logger get_run_logger",
    "logging.loggers": """disable_logger disable_run_logger flow_run_logger get_logger get_run_logger patch_print print_as_log
        task_run_logger""",
    "testing.utilities": "prefect_test_harness exceptions_equal",
    "exceptions": """Abort CancelledRun ConfigurationError CrashedRun FailedRun HashError InvalidNameError MappingLengthMismatch
        MappingMissingIterable MissingContextError MissingFlowError MissingResult ObjectAlreadyExists ObjectNotFound
        ParameterBindError ParameterTypeError Pause PausedRun PrefectException ReservedArgumentError ScriptError
        SerializationError SignatureMismatchError TerminationSignal UnfinishedRun UnspecifiedFlowError UpstreamTaskError""",
    "utilities.annotations": "BaseAnnotation NotSet Quote allow_failure freeze opaque quote unmapped",
    "utilities.collections": """AutoEnum StopVisiting batched_iterable deep_merge dict_to_flatdict distinct ensure_iterable
        flatdict_to_dict get_from_dict isiterable listrepr remove_nested_keys set_in_dict visit_collection""",
    "utilities.hashing": "file_hash hash_objects stable_hash",
    "locking.memory": "MemoryLockManager",
    "locking.filesystem": "FileSystemLockManager",
    "locking.protocol": "LockManager",
    "filesystems": "LocalFileSystem ReadableFileSystem RemoteFileSystem WritableFileSystem",
    "settings": "get_current_settings temporary_settings",
    "client.schemas.objects": "FlowRun State StateDetails StateType TaskRun RunInput Constant Parameter TaskRunResult",
}


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    found = import_module(module) if module else importlib.import_module(SDK)
    missing = [name for name in NAMES[module].split() if not hasattr(found, name)]
    assert missing == []


OF_BOTH = """name version retries retry_delay_seconds description timeout_seconds persist_result result_storage
    result_serializer cache_result_in_memory log_prints on_completion on_failure on_running"""
OF_FLOWS = f"{OF_BOTH} flow_run_name task_runner validate_parameters on_cancellation on_crashed"
OF_TASKS = f"""{OF_BOTH} tags cache_policy cache_key_fn cache_expiration task_run_name retry_jitter_factor result_storage_key
    refresh_cache retry_condition_fn viz_return_value"""
PARAMETERS = {
    ("flows", "flow"): OF_FLOWS,
    ("flows", "Flow"): f"fn {OF_FLOWS}",
    ("flows", "Flow.with_options"): OF_FLOWS,
    ("flows", "Flow.validate_parameters"): "parameters",
    ("flows", "Flow.serialize_parameters"): "parameters",
    ("tasks", "task"): OF_TASKS,
    ("tasks", "Task"): f"fn {OF_TASKS} on_rollback on_commit",
    ("tasks", "Task.with_options"): " ".join(set(OF_TASKS.split()) - {"version"}),
    ("tasks", "Task.submit"): "args return_state wait_for kwargs",
    ("tasks", "Task.map"): "args return_state wait_for deferred kwargs",
    ("tasks", "exponential_backoff"): "backoff_factor",
    ("tasks", "task_input_hash"): "context arguments",
    ("tasks", "Task.apply_async"): "args kwargs wait_for dependencies",
    ("tasks", "Task.delay"): "args kwargs",
    ("task_worker", "TaskWorker"): "tasks limit",
    ("task_worker", "serve"): "tasks limit status_server_port timeout",
    ("flow_runs", "pause_flow_run"): "wait_for_input timeout poll_interval key",
    ("flow_runs", "suspend_flow_run"): "wait_for_input flow_run_id timeout key",
    ("flow_runs", "resume_flow_run"): "flow_run_id run_input",
    ("flow_runs", "wait_for_flow_run"): "flow_run_id timeout poll_interval client log_states",
    ("input.run_input", "RunInput.receive"): """timeout poll_interval raise_timeout_error exclude_keys key_prefix
        flow_run_id""",
    ("input.run_input", "RunInput.respond"): "run_input sender key_prefix",
    ("input.run_input", "RunInput.send_to"): "flow_run_id sender key_prefix",
    ("input.run_input", "RunInput.with_initial_data"): "description kwargs",
    (
        "input.run_input",
        "receive_input",
    ): """input_type timeout poll_interval raise_timeout_error exclude_keys key_prefix
        flow_run_id with_metadata""",
    ("input.run_input", "send_input"): "run_input flow_run_id sender key_prefix",
    ("futures", "PrefectFuture.result"): "timeout raise_on_failure",
    ("futures", "PrefectFuture.wait"): "timeout",
    ("futures", "PrefectFuture.add_done_callback"): "fn",
    ("futures", "PrefectFutureList.result"): "timeout raise_on_failure",
    ("futures", "as_completed"): "futures timeout",
    ("futures", "wait"): "futures timeout",
    ("transactions", "transaction"): "key store commit_mode isolation_level overwrite write_on_commit logger",
    ("transactions", "atransaction"): "key store commit_mode isolation_level overwrite write_on_commit logger",
    ("transactions", "Transaction.stage"): "value on_rollback_hooks on_commit_hooks",
    ("transactions", "Transaction.get"): "name default",
    ("states", "Paused"): "timeout_seconds pause_expiration_time reschedule pause_key",
    ("states", "Scheduled"): "scheduled_time",
    ("task_runners", "ThreadPoolTaskRunner"): "max_workers",
    ("task_runners", "ProcessPoolTaskRunner"): "max_workers",
    (
        "results",
        "ResultStore",
    ): "result_storage metadata_storage lock_manager cache_result_in_memory serializer storage_key_fn",
}


@pytest.mark.parametrize("where", PARAMETERS, ids=".".join)
def test_parameters(where: tuple[str, str]) -> None:
    module, path = where
    found = import_module(module)
    for step in path.split("."):
        found = getattr(found, step)
    have = inspect.signature(found).parameters
    if path in {"flow", "task", "Flow.with_options", "Task.with_options"} and any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in have.values()
    ):
        return  # handed on to the class, whose own signature is checked
    missing = [name for name in PARAMETERS[where].split() if name not in have]
    assert missing == []


ATTRIBUTES = {
    "task": """cache_expiration cache_key_fn cache_policy cache_result_in_memory description fn isasync isgenerator log_prints
        name on_commit_hooks on_completion_hooks on_failure_hooks on_rollback_hooks on_running_hooks persist_result refresh_cache
        result_serializer result_storage result_storage_key retries retry_condition_fn retry_delay_seconds retry_jitter_factor
        tags task_key task_run_name timeout_seconds version viz_return_value submit map with_options""",
    "flow": """cache_result_in_memory description flow_run_name fn isasync isgenerator log_prints name on_cancellation_hooks
        on_completion_hooks on_crashed_hooks on_failure_hooks on_running_hooks parameters persist_result result_serializer
        result_storage retries retry_delay_seconds should_validate_parameters task_runner timeout_seconds version visualize
        with_options""",
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_attributes(kind: str) -> None:
    def work(x: int = 1) -> int:
        return x

    made = getattr(import_module(f"{kind}s"), kind)(work)
    missing = [name for name in ATTRIBUTES[kind].split() if not hasattr(made, name)]
    assert missing == []


def test_parameters_schema_of_a_flow() -> None:
    @import_module("flows").flow
    def main(x: int, y: str = "d"):
        """Doc.

        Args:
            x: the x
        """

    schema = main.parameters.model_dump() if hasattr(main.parameters, "model_dump") else main.parameters
    assert set(schema["properties"]) == {"x", "y"}
    assert schema["required"] == ["x"]
    assert schema["properties"]["y"]["default"] == "d"


def test_task_input_hash() -> None:
    calls = []

    @task(cache_key_fn=import_module("tasks").task_input_hash, persist_result=True)
    def work(x):
        calls.append(x)
        return x

    import uuid

    unique = uuid.uuid4().hex
    assert (work(unique), work(unique)) == (unique, unique)
    assert calls == [unique]


@riverrun_only("the names of the peer's own classes stand beside the house's names")
def test_aliases() -> None:
    futures, exceptions = import_module("futures"), import_module("exceptions")
    assert exceptions.PrefectException is exceptions.RiverrunError
    assert issubclass(futures.PrefectConcurrentFuture, futures.PrefectFuture)
