"""Where the arguments of a task run came from is on record."""

from .sdk import Colour, flow, history, import_module, riverrun_only, task, unmapped

context = import_module("context")


def inputs_of_this_run() -> dict[str, list[tuple[str, str | None]]]:
    run = context.TaskRunContext.get().task_run
    return {
        name: sorted((source.input_type, str(source.id) if getattr(source, "id", None) else None) for source in sources)
        for name, sources in run.task_inputs.items()
    }


@task
def one(x=1):
    return x


@task
def inputs(a=None, b=None, **more):
    return inputs_of_this_run()


def test_plain_values_have_no_source(colour: Colour) -> None:
    @colour.task
    async def look(a, b):
        return inputs_of_this_run()

    @colour.flow
    async def main():
        return await colour(look, 1, [2])

    assert colour.run(main) == {"a": [], "b": []}


def test_futures_and_states_are_sources() -> None:
    @flow
    def main():
        future = one.submit()
        state = one(return_state=True)
        got = inputs.submit(future, [state, future]).result()
        return got, str(future.task_run_id), str(state.state_details.task_run_id)

    got, future, state = main()
    assert got["a"] == [("task_run", future)]
    assert got["b"] == sorted([("task_run", future), ("task_run", state)])


def test_wait_for_is_a_source() -> None:
    @flow
    def main():
        future = one.submit()
        return inputs.submit(1, wait_for=[future]).result(), str(future.task_run_id)

    got, future = main()
    assert got["wait_for"] == [("task_run", future)]


def test_results_passed_on_are_recognised() -> None:
    @task
    def make():
        return {"a": "fresh"}

    @flow
    def main():
        future = make.submit()
        value = future.result()
        return inputs(value), str(future.task_run_id)

    got, future = main()
    assert got["a"] == [("task_run", future)]


def test_the_task_around_is_the_parent() -> None:
    @task
    def outer():
        return inputs(1), str(context.TaskRunContext.get().task_run.id)

    @flow
    def main():
        return outer()

    got, outer_id = main()
    assert got["__parents__"] == [("task_run", outer_id)]


def test_states_know_their_run() -> None:
    @flow
    def main():
        future = one.submit()
        future.wait()
        return str(future.state.state_details.task_run_id) == str(future.task_run_id)

    assert main() is True
    state = main(return_state=True)
    assert state.state_details.flow_run_id is not None


def sources_of(name: str, got: dict[str, list[tuple[str, str | None]]]) -> set[str | None]:
    return {source for _, source in got[name]}


def test_variadic_parameters_have_their_names() -> None:
    @task
    def look(x, *rest, **more):
        return inputs_of_this_run()

    @flow
    def main():
        return look.submit(1).result()

    assert main() == {"x": [], "rest": [], "more": []}


def test_one_source_found_twice_counts_once() -> None:
    @flow
    def main():
        a, b = one.submit(), one.submit()
        got = inputs.submit([a, a, b], {3: b, 4: {5: [a, 4]}}).result()
        return got, {str(a.task_run_id), str(b.task_run_id)}

    got, both = main()
    assert len(got["a"]) == len(got["b"]) == 2
    assert sources_of("a", got) == sources_of("b", got) == both


def test_each_mapped_run_has_the_sources_of_its_own_element() -> None:
    @flow
    def main():
        first, second, shared = one.submit(1), one.submit(2), one.submit(3)
        got = inputs.map([first, second, 5], b=unmapped(shared)).result()
        return got, [str(future.task_run_id) for future in (first, second, shared)]

    got, (first, second, shared) = main()
    assert [sources_of("a", each) for each in got] == [{first}, {second}, set()]
    assert [sources_of("b", each) for each in got] == [{shared}] * 3


def test_mapping_over_one_future_of_a_list() -> None:
    @flow
    def main():
        whole = one.submit([1, 2])
        return inputs.map(whole).result(), str(whole.task_run_id)

    got, whole = main()
    assert [sources_of("a", each) for each in got] == [{whole}] * 2


def test_the_state_of_a_subflow_is_a_source() -> None:
    @flow
    def child():
        return [1, 2]

    @flow
    def main():
        state = child(return_state=True)
        return inputs(state), one.map(state).result()

    got, mapped = main()
    assert len(got["a"]) == 1
    assert mapped == [1, 2]


def test_small_values_are_not_mistaken_for_results() -> None:
    """Small integers, booleans and None are shared by all of Python: that a task returned one says nothing."""

    @flow
    def main():
        one(5), one(True), one(None)
        return inputs(5, b=True)

    got = main()
    assert got["b"] == []


@riverrun_only("the journal is riverrun's")
def test_a_subflow_stands_in_its_parent_as_a_task_run_with_inputs(colour: Colour) -> None:
    @colour.flow(flow_run_name="child")
    async def child(x):
        return x

    @colour.flow(flow_run_name="parent")
    async def main():
        return await colour(child, one.submit(1))

    with history() as seen:
        colour.run(main)
    journal = import_module("wire.journal")
    flows = {record.name: record for record in final_names(seen.records, journal.FlowRunRecord)}
    tasks = {record.id: record for record in seen.records if isinstance(record, journal.TaskRunRecord)}
    stand_in = tasks[flows["child"].parent_task_run_id]
    assert stand_in.flow_run_id == flows["parent"].id
    assert flows["parent"].parent_task_run_id is None
    assert list(stand_in.inputs) == ["x"]
    assert len(stand_in.inputs["x"]) == 1
    ends = [
        record.type
        for record in seen.records
        if getattr(record, "run_id", None) == stand_in.id and hasattr(record, "type")
    ]
    states = import_module("wire.states")
    assert states.TYPES_BY_CODE[ends[-1]] is states.StateType.COMPLETED


def final_names(records, kind):
    """Records of a kind with the names they were given later."""
    later = {
        record.run_id: record.fields["name"]
        for record in records
        if hasattr(record, "fields") and "name" in record.fields
    }
    for record in records:
        if isinstance(record, kind):
            record.name = later.get(record.id, record.name)
            yield record


def test_parts_of_a_result_come_from_its_run() -> None:
    @task
    def pair():
        return "a word", ["a", "list"], 2, context.TaskRunContext.get().task_run

    @task
    def table():
        return {"name": "Fred", "run": context.TaskRunContext.get().task_run}

    @task
    def inputs(x):
        return inputs_of_this_run()

    @flow
    def main():
        word, items, small, run = pair()
        row = table()
        return [inputs(x)["x"] for x in (word, items, small, row["name"])], str(run.id), str(row["run"].id)

    got, pair_id, table_id = main()
    assert got == [[("task_run", pair_id)], [("task_run", pair_id)], [], [("task_run", table_id)]]
