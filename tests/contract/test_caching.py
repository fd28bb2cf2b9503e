"""Caching: policies and what they look at, keys, expiration, refreshing."""

import random
import uuid
from datetime import timedelta

import pytest

from .sdk import Colour, flow, history, import_module, riverrun_only, task

policies = import_module("cache_policies")
INPUTS, TASK_SOURCE, RUN_ID = policies.INPUTS, policies.TASK_SOURCE, policies.RUN_ID
FLOW_PARAMETERS, DEFAULT, NO_CACHE = policies.FLOW_PARAMETERS, policies.DEFAULT, policies.NO_CACHE
CachePolicy, CacheKeyFnPolicy = policies.CachePolicy, policies.CacheKeyFnPolicy


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex


class Counted:
    """A task that counts its bodies' runs."""

    def __init__(self, colour: Colour | None = None, **options) -> None:
        self.calls = 0
        options.setdefault("persist_result", True)

        async def work(*args, **kwargs):
            self.calls += 1
            return self.calls

        def plain(x=None, y=None):
            self.calls += 1
            return self.calls

        if colour:

            async def painted(x=None, y=None):
                return await work(x, y)

            self.task = colour.task(painted, **options)
        else:
            self.task = task(plain, **options)

    def __call__(self, *args, **kwargs):
        return self.task(*args, **kwargs)


def test_inputs_across_flow_runs(colour: Colour, unique: str) -> None:
    counted = Counted(colour, cache_policy=INPUTS)

    @colour.flow
    async def main(x):
        return await colour(counted.task, unique, x)

    assert [colour.run(main, 1), colour.run(main, 1), colour.run(main, 2), colour.run(main, 1)] == [1, 1, 2, 1]


def test_the_state_is_named_cached(colour: Colour, unique: str) -> None:
    counted = Counted(colour, cache_policy=INPUTS, task_run_name="the run")

    @colour.flow
    async def main():
        first = await colour(counted.task, unique, return_state=True)
        second = await colour(counted.task, unique, return_state=True)
        return first.name, second.name, second.type.value

    with history() as seen:
        assert colour.run(main) == ("Completed", "Cached", "COMPLETED")
    assert seen.names("the run") == ["Running", "Completed", "Cached"] or seen.names("the run")[-1] == "Cached"


def test_default_policy_is_within_a_run(unique: str) -> None:
    counted = Counted()

    @flow
    def main():
        return counted(unique), counted(unique), counted(unique, 2)

    assert main() == (1, 1, 2)
    assert main() == (3, 3, 4)


def test_nothing_is_cached_without_persistence(unique: str) -> None:
    counted = Counted(persist_result=None)

    @flow
    def main():
        return counted(unique), counted(unique)

    assert main() == (1, 2)


def test_naming_a_policy_or_a_key_turns_persistence_on() -> None:
    def work():
        pass

    assert task(work, cache_policy=INPUTS).persist_result is True
    assert task(work, cache_key_fn=lambda *a: "k").persist_result is True
    assert task(work, result_storage_key="k").persist_result is True
    assert not task(work).persist_result
    assert not task(work, cache_policy=NO_CACHE).persist_result


def test_no_cache(unique: str) -> None:
    counted = Counted(cache_policy=NO_CACHE)

    @flow
    def main():
        return counted(unique), counted(unique)

    assert main() == (1, 2)


def test_flow_parameters(unique: str) -> None:
    counted = Counted(cache_policy=FLOW_PARAMETERS)

    @flow
    def main(x, y):
        return counted(random.random())

    assert [main(unique, 1), main(unique, 1), main(unique, 2)] == [1, 1, 2]


def test_run_id(unique: str) -> None:
    counted = Counted(cache_policy=RUN_ID)

    @flow
    def main():
        return counted(1), counted(2)

    assert [main(), main()] == [(1, 1), (2, 2)]


def test_sum_and_difference(unique: str) -> None:
    both = Counted(cache_policy=INPUTS + FLOW_PARAMETERS)
    less = Counted(cache_policy=INPUTS - "y")

    @flow
    def main(p):
        return both(unique, 1), less(unique, random.random())

    assert main(1) == (1, 1)
    assert main(1) == (1, 1)
    assert main(2) == (2, 1)


def test_inputs_may_exclude_names(unique: str) -> None:
    counted = Counted(cache_policy=policies.Inputs(exclude=["y"]))

    @flow
    def main():
        return counted(unique, 1), counted(unique, 2), counted(unique + "x", 1)

    assert main() == (1, 1, 2)


def test_task_source(tmp_path) -> None:
    from .sdk import run_script

    source = """
        from SDK import task
        from SDK.cache_policies import TASK_SOURCE

        @task(cache_policy=TASK_SOURCE, persist_result=True)
        def work(x):
            return {value!r}

        @task(cache_policy=TASK_SOURCE, persist_result=True)
        def other(x):
            print("other ran")

        print(work(1), work(2), work(1, return_state=True).name)
        other(1)
    """
    first = run_script(tmp_path, source.replace("{value!r}", "'one'"))
    assert first.stdout.splitlines() == ["one one Cached", "other ran"], first.stderr
    again = run_script(tmp_path, source.replace("{value!r}", "'one'"))
    assert again.stdout.splitlines() == ["one one Cached"], again.stderr
    changed = run_script(tmp_path, source.replace("{value!r}", "'two'"))
    assert changed.stdout.splitlines() == ["two two Cached"], changed.stderr


def test_cache_key_fn_gets_the_context_and_the_arguments(unique: str) -> None:
    asked = []

    def key(context, arguments):
        asked.append((context.task.name, context.task_run.name, dict(arguments)))
        return f"{unique}-{arguments['x']}"

    counted = Counted(cache_key_fn=key, name="work", task_run_name="r")

    @flow
    def main():
        return counted(1), counted(1, y=5), counted(2)

    assert main() == (1, 1, 2)
    assert asked[0] == ("work", "r", {"x": 1, "y": None})


def test_a_key_of_none_means_no_caching() -> None:
    counted = Counted(cache_key_fn=lambda *a: None)
    assert (counted(1), counted(1)) == (1, 2)


def test_tasks_with_one_key_share_the_value(unique: str) -> None:
    first, second = Counted(cache_key_fn=lambda *a: unique), Counted(cache_key_fn=lambda *a: unique)
    second.calls = 100
    assert (first(1), second(2)) == (1, 1)


def test_own_policy_class(unique: str) -> None:
    class ByX(CachePolicy):
        def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
            return f"{unique}-{inputs['x']}"

    counted = Counted(cache_policy=ByX())
    assert (counted(1, 1), counted(1, 2), counted(2, 1)) == (1, 1, 2)


def test_from_cache_key_fn(unique: str) -> None:
    counted = Counted(cache_policy=CachePolicy.from_cache_key_fn(lambda context, arguments: unique))
    assert (counted(1), counted(2)) == (1, 1)


def test_a_failed_run_is_not_cached(unique: str) -> None:
    calls = []

    @task(cache_key_fn=lambda *a: unique, persist_result=True)
    def work():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return len(calls)

    assert work(return_state=True).is_failed()
    assert work() == 2
    assert work() == 2


def test_none_is_a_value_worth_caching(unique: str) -> None:
    calls = []

    @task(cache_key_fn=lambda *a: unique, persist_result=True)
    def work():
        calls.append(1)

    assert (work(), work()) == (None, None)
    assert calls == [1]


def test_expiration(unique: str) -> None:
    past = Counted(cache_key_fn=lambda *a: unique + "past", cache_expiration=timedelta(seconds=-1))
    future = Counted(cache_key_fn=lambda *a: unique + "future", cache_expiration=timedelta(days=1))
    assert (past(), past()) == (1, 2)
    assert (future(), future()) == (1, 1)


def test_refresh_cache(unique: str) -> None:
    counted = Counted(cache_key_fn=lambda *a: unique)
    refreshing = counted.task.with_options(refresh_cache=True)
    assert counted() == 1
    assert refreshing() == 2
    assert counted() == 2
    assert refreshing() == 3


def test_refresh_cache_by_setting(unique: str) -> None:
    settings = import_module("settings")
    prefix = settings.__name__.split(".")[0].upper()
    setting = getattr(settings, f"{prefix}_TASKS_REFRESH_CACHE")
    counted = Counted(cache_key_fn=lambda *a: unique)
    stays = counted.task.with_options(refresh_cache=False)
    with settings.temporary_settings({setting: True}):
        assert (counted(), counted()) == (1, 2)
        assert stays() == 2


def test_an_unhashable_input_runs_uncached_or_says_why(unique: str) -> None:
    import threading

    counted = Counted(cache_policy=INPUTS)
    lock = threading.Lock()
    assert (counted(lock), counted(lock)) == (1, 2)


def test_submitted_tasks_are_cached(unique: str) -> None:
    counted = Counted(cache_policy=INPUTS)

    @flow
    def main():
        first = counted.task.submit(unique).result()
        return [first, *counted.task.map([unique] * 3).result()]

    assert main() == [1, 1, 1, 1]


def test_inputs_tell_equal_looking_values_apart(unique: str) -> None:
    counted = Counted(cache_policy=INPUTS)
    values = [1, "1", 1.5, True, None, [1], {"a": 1}, {"a": 2}, "é"]
    results = [counted(unique, value) for value in values]
    assert len(set(results)) >= len(values) - 1
    assert [counted(unique, value) for value in values] == results


def test_inputs_do_not_depend_on_the_order_of_dictionaries(unique: str) -> None:
    counted = Counted(cache_policy=INPUTS)
    assert counted(unique, {"a": 1, "b": 2}) == counted(unique, {"b": 2, "a": 1}) == 1


def test_policies_add_up() -> None:
    assert isinstance(INPUTS + TASK_SOURCE, CachePolicy)
    assert isinstance(INPUTS - "x", CachePolicy)
    assert (NO_CACHE + INPUTS) == INPUTS
    assert (INPUTS + NO_CACHE) == INPUTS
    with pytest.raises((TypeError, ValueError)):
        INPUTS - 5  # noqa: B018


def test_difference_has_no_effect_on_policies_without_inputs() -> None:
    assert isinstance((INPUTS + RUN_ID) - "x", CachePolicy)


def test_key_of_a_policy_is_text_and_stable() -> None:
    key = INPUTS.compute_key(task_ctx=None, inputs={"x": 1}, flow_parameters={})
    assert isinstance(key, str)
    assert key == INPUTS.compute_key(task_ctx=None, inputs={"x": 1}, flow_parameters=None)
    assert key != INPUTS.compute_key(task_ctx=None, inputs={"x": 2}, flow_parameters={})
    assert NO_CACHE.compute_key(task_ctx=None, inputs={"x": 1}, flow_parameters={}) is None


def test_cache_key_fn_and_policy_together_warn() -> None:
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = task(lambda: 1, name="x", cache_key_fn=lambda *a: "k", cache_policy=INPUTS)
    assert made is not None
    assert caught or made.cache_policy is not None


@riverrun_only("a policy that raises makes the run uncached with a log line, for every kind of policy")
def test_a_key_function_that_raises_does_not_fail_the_run() -> None:
    counted = Counted(cache_key_fn=lambda *a: 1 / 0)
    assert (counted(), counted()) == (1, 2)


def test_storage_of_keys_elsewhere(tmp_path, unique: str) -> None:
    counted = Counted(cache_policy=INPUTS.configure(key_storage=tmp_path / "keys"))
    assert (counted(unique), counted(unique)) == (1, 1)
    assert any((tmp_path / "keys").iterdir())


@riverrun_only("the peer's reader trips over a lock file that is being written")
def test_serializable_isolation_with_locks_computes_once(tmp_path, unique: str) -> None:
    locking = import_module("locking.filesystem")
    transactions = import_module("transactions")
    policy = INPUTS.configure(
        lock_manager=locking.FileSystemLockManager(tmp_path / "locks"),
        isolation_level=transactions.IsolationLevel.SERIALIZABLE,
    )
    counted = Counted(cache_policy=policy)

    @flow
    def main():
        return counted.task.map([unique] * 8).result()

    assert main() == [1] * 8


def test_task_input_hash_tells_code_apart(unique: str) -> None:
    tasks = import_module("tasks")

    @task(cache_key_fn=tasks.task_input_hash, persist_result=True)
    def work(x):
        return "first"

    def other(x):
        return f"{x} second"

    assert work(unique) == "first"
    work.fn = other
    assert work(unique) == f"{unique} second"


def test_a_storage_key_of_ones_own_is_what_counts(unique: str) -> None:
    for options in ({"cache_policy": INPUTS}, {"cache_key_fn": lambda context, inputs: unique}, {}):
        counted = Counted(result_storage_key=f"{unique}-{len(options)}-{list(options)}", **options)
        assert counted.task.cache_policy is None
        assert [counted(1), counted(2)] == [1, 1]
        other = counted.task.with_options(result_storage_key=f"{unique}-other-{list(options)}")
        assert other(3) == 2
    counted = Counted(result_storage_key=f"{unique}-never", cache_policy=NO_CACHE)
    assert [counted(1), counted(1)] == [1, 2]


def test_no_caching_by_setting(unique: str) -> None:
    settings = import_module("settings")
    name = f"{settings.__name__.split('.')[0].upper()}_TASKS_DISABLE_CACHING"
    with settings.temporary_settings({getattr(settings, name): True}):
        for options in ({"cache_policy": INPUTS}, {"result_storage_key": unique}, {"cache_key_fn": lambda *_: unique}):
            counted = Counted(**options)
            assert [counted(unique), counted(unique)] == [1, 2]


def test_policy_without_persistence() -> None:
    def work():
        pass

    assert task(work, persist_result=False).cache_policy == NO_CACHE
    assert task(work, persist_result=False, cache_policy=INPUTS).cache_policy == NO_CACHE
    assert task(work, persist_result=False, cache_policy=None).cache_policy is None
    assert task(work, cache_policy=None).cache_policy is None
    assert task(work).cache_policy == DEFAULT


def test_options_that_imply_persistence_can_be_taken_back() -> None:
    def work():
        pass

    cached = task(work, cache_policy=INPUTS)
    assert cached.with_options(cache_policy=NO_CACHE).persist_result is None
    assert cached.with_options(cache_policy=None).cache_policy is None
    assert cached.with_options(name="other").persist_result is True
    named = task(work, result_storage_key="k").with_options(result_storage_key=None)
    assert (named.persist_result, named.cache_policy) == (None, DEFAULT)


def test_a_lock_manager_of_the_transaction_around_is_used(unique: str) -> None:
    results, locking, transactions = (import_module(name) for name in ("results", "locking.memory", "transactions"))
    counted = Counted(cache_policy=INPUTS)
    locks = locking.MemoryLockManager()
    store = results.ResultStore(lock_manager=locks)
    with transactions.transaction(key=f"{unique}-outer", store=store, isolation_level="SERIALIZABLE"):
        assert counted(unique) == 1

        @task
        def inside():
            return transactions.get_transaction()

        mine = inside()
    assert (mine.store.lock_manager, mine.isolation_level) == (locks, transactions.IsolationLevel.SERIALIZABLE)
    assert counted(unique) == 1
