"""Futures: waiting, time-outs, callbacks, and lists of them."""

import asyncio
import threading
import time

import pytest

from .sdk import Colour, flow, import_module, riverrun_only, task

futures = import_module("futures")
states = import_module("states")


@task
def identity(x):
    return x


@task
def fail():
    raise ValueError("no")


@task
def wait_for_event(event, value=None):
    assert event.wait(20)
    return value


def quoted(value):
    return import_module("utilities.annotations").quote(value)


def test_result_state_and_done(colour: Colour) -> None:
    @colour.task
    async def one():
        return 1

    @colour.flow
    async def main():
        future = one.submit()
        future.wait()
        return future.state.name, future.state.is_completed(), future.result(), future.result()

    assert colour.run(main) == ("Completed", True, 1, 1)


def test_result_raises_the_exception_of_the_task() -> None:
    raised = ValueError("the very one")

    @task
    def one():
        raise raised

    @flow
    def main():
        future = one.submit()
        with pytest.raises(ValueError) as caught:
            future.result()
        assert caught.value is raised
        held = future.result(raise_on_failure=False)
        return held is raised, future.state.is_failed()

    assert main() == (True, True)


def test_result_times_out_and_comes_later() -> None:
    event = threading.Event()

    @flow
    def main():
        future = wait_for_event.submit(quoted(event), "late")
        with pytest.raises(TimeoutError):
            future.result(timeout=0.01)
        event.set()
        return future.result(timeout=10)

    assert main() == "late"


def test_wait_with_a_timeout_just_returns() -> None:
    event = threading.Event()

    @flow
    def main():
        future = wait_for_event.submit(quoted(event))
        future.wait(timeout=0.01)
        before = future.state.is_final()
        event.set()
        future.wait(timeout=10)
        return before, future.state.is_completed()

    assert main() == (False, True)


def test_a_future_knows_its_task_run() -> None:
    runtime = import_module("runtime")

    @task
    def my_id():
        return runtime.task_run.id

    @flow
    def main():
        future = my_id.submit()
        return str(future.result()) == str(future.task_run_id)

    assert main() is True


def test_callbacks_run_once_each_also_when_added_late() -> None:
    event, called, last = threading.Event(), [], threading.Event()

    @flow
    def main():
        future = wait_for_event.submit(quoted(event))
        future.add_done_callback(lambda f: called.append(("early", f is future)))
        event.set()
        future.wait()
        future.add_done_callback(lambda f: last.set())
        assert last.wait(10)

    main()
    assert called == [("early", True)]


def test_as_completed_gives_each_as_it_ends() -> None:
    events = [threading.Event() for _ in range(3)]

    @flow
    def main():
        waiting = [wait_for_event.submit(quoted(event), i) for i, event in enumerate(events)]
        order = []
        events[2].set()
        for future in futures.as_completed(waiting):
            order.append(future.result())
            if len(order) == 1:
                events[0].set()
            elif len(order) == 2:
                events[1].set()
        return order

    assert main() == [2, 0, 1]


def test_as_completed_with_a_timeout_gives_what_it_can_then_raises() -> None:
    event = threading.Event()

    @flow
    def main():
        quick, slow = identity.submit(1), wait_for_event.submit(quoted(event))
        quick.wait()
        got = []
        with pytest.raises(TimeoutError, match="1 .*2|unfinished"):
            for future in futures.as_completed([quick, slow], timeout=0.05):
                got.append(future.result())
        event.set()
        return got

    assert main() == [1]


def test_as_completed_of_equal_futures_and_of_none() -> None:
    @flow
    def main():
        future = identity.submit(1)
        return [f.result() for f in futures.as_completed([future, future])], list(futures.as_completed([]))

    assert main() == ([1], [])


def test_wait_gives_done_and_not_done() -> None:
    event = threading.Event()

    @flow
    def main():
        quick, slow = identity.submit(1), wait_for_event.submit(quoted(event))
        quick.wait()
        done, not_done = futures.wait([quick, slow], timeout=0.01)
        assert (done, not_done) == ({quick}, {slow})
        event.set()
        answer = futures.wait([quick, slow])
        assert answer.done == {quick, slow}
        return answer.not_done

    assert main() == set()


def test_wait_counts_failures_as_done() -> None:
    @flow
    def main():
        future = fail.submit()
        done, not_done = futures.wait([future])
        return len(done), len(not_done), done.pop().state.name

    assert main() == (1, 0, "Failed")


def test_a_list_of_futures_waits_and_gives_results() -> None:
    @flow
    def main():
        many = futures.PrefectFutureList([identity.submit(i) for i in range(5)])
        many.wait()
        assert all(future.state.is_completed() for future in many)
        return many.result(), many[1].result(), len(many)

    assert main() == ([0, 1, 2, 3, 4], 1, 5)


def test_a_list_of_futures_times_out() -> None:
    event = threading.Event()

    @flow
    def main():
        many = futures.PrefectFutureList([identity.submit(1), wait_for_event.submit(quoted(event))])
        many.wait(timeout=0.01)
        with pytest.raises(TimeoutError):
            many.result(timeout=0.01)
        event.set()
        return many.result(timeout=10)

    assert main() == [1, None]


def test_futures_hash_and_compare_by_identity_of_the_run() -> None:
    @flow
    def main():
        a, b = identity.submit(1), identity.submit(1)
        return a == a, a == b, len({a, b, a})  # noqa: PLR0124

    assert main() == (True, False, 2)


def test_result_blocks_inside_an_async_flow() -> None:
    @task
    async def slow(x):
        await asyncio.sleep(0.01)
        return x

    @flow
    async def main():
        futures_ = [slow.submit(i) for i in range(5)]
        return [future.result() for future in futures_]

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_as_completed_and_wait_inside_an_async_flow() -> None:
    @task
    async def slow(x):
        await asyncio.sleep(0.001)
        return x

    @flow
    async def main():
        many = [slow.submit(i) for i in range(5)]
        done, not_done = futures.wait(many)
        return sorted(f.result() for f in futures.as_completed(many)), len(done), len(not_done)

    assert asyncio.run(main()) == ([0, 1, 2, 3, 4], 5, 0)


@riverrun_only("`await future` and `aresult()` work too (SDK-NOTES 11)")
def test_awaiting_a_future() -> None:
    @task
    async def slow(x):
        await asyncio.sleep(0.001)
        return x

    @flow
    async def main():
        return await slow.submit(1), await slow.submit(2).aresult()

    assert asyncio.run(main()) == (1, 2)


def test_resolving_futures_to_states() -> None:
    @flow
    def main():
        nested = {"a": [identity.submit(1)], "b": 2, "c": fail.submit()}
        for future in (nested["a"][0], nested["c"]):
            future.wait()
        resolved = futures.resolve_futures_to_states(nested)
        assert isinstance(resolved["a"][0], states.State)
        return resolved["a"][0].name, resolved["b"], resolved["c"].name

    assert main() == ("Completed", 2, "Failed")


def test_a_future_may_be_waited_for_from_many_threads() -> None:
    event, got = threading.Event(), []

    @flow
    def main():
        future = wait_for_event.submit(quoted(event), 7)
        threads = [threading.Thread(target=lambda: got.append(future.result(timeout=10))) for _ in range(10)]
        for thread in threads:
            thread.start()
        event.set()
        for thread in threads:
            thread.join(10)

    main()
    assert got == [7] * 10


def test_submits_overlap() -> None:
    barrier = threading.Barrier(8)

    @task
    def meet():
        return barrier.wait(20) >= 0

    @flow
    def main():
        return all(future.result() for future in [meet.submit() for _ in range(8)])

    assert main() is True


def test_a_flow_waits_for_futures_it_returns_and_runs_end_before_it_does() -> None:
    ended = []

    @task
    def slow():
        time.sleep(0.05)
        ended.append(1)
        return 5

    @flow
    def main():
        return slow.submit()

    returned = main()
    assert ended == [1]
    assert isinstance(returned, states.State)
    assert returned.result() == 5


def test_the_list_is_a_list_and_slices() -> None:
    @flow
    def main():
        mapped = identity.map([1, 2, 3])
        return isinstance(mapped, list), [future.result() for future in mapped[1:]]

    assert main() == (True, [2, 3])


class TestWrappedFutures:
    """Task runners of other packages make futures of the SDK from futures of their own."""

    def make(self):
        import uuid
        from concurrent.futures import Future

        wrapped = Future()
        return wrapped, futures.PrefectConcurrentFuture(uuid.uuid4(), wrapped)

    def test_is_pending_until_the_wrapped_one_is_done(self) -> None:
        wrapped, future = self.make()
        future.wait(timeout=0.01)
        assert future.state.is_pending()
        wrapped.set_result(states.Completed(data=42))
        future.wait(timeout=5)
        assert future.state.is_completed()
        assert future.result(timeout=5) == 42

    def test_a_failed_state(self) -> None:
        wrapped, future = self.make()
        wrapped.set_result(states.Failed(data=ValueError("oops")))
        with pytest.raises(ValueError, match="oops"):
            future.result(timeout=5)
        assert isinstance(future.result(timeout=5, raise_on_failure=False), ValueError)

    def test_a_bare_value(self) -> None:
        wrapped, future = self.make()
        wrapped.set_result(42)
        assert future.result(timeout=5) == 42

    def test_callbacks(self) -> None:
        wrapped, future = self.make()
        called = []
        future.add_done_callback(called.append)
        assert called == []
        wrapped.set_result(states.Completed(data=1))
        assert called == [future]

    def test_are_resolved_in_collections(self) -> None:
        wrapped, future = self.make()
        wrapped.set_result(states.Completed(data="v"))
        future.wait(timeout=5)
        assert future.state.is_completed()
        resolved = futures.resolve_futures_to_states({"a": [future], "b": (future, 1)})
        assert resolved["a"][0].result() == resolved["b"][0].result() == "v"
        assert futures.resolve_futures_to_results([future, {"k": future}]) == ["v", {"k": "v"}]

    def test_as_completed_and_wait(self) -> None:
        (one, first), (two, second) = self.make(), self.make()
        two.set_result(states.Completed(data=2))
        done, not_done = futures.wait([first, second], timeout=0.01)
        assert (done, not_done) == ({second}, {first})
        one.set_result(states.Completed(data=1))
        assert sorted(future.result() for future in futures.as_completed([first, second], timeout=5)) == [1, 2]
