"""Where the arguments of a task run came from is on record."""

from .sdk import Colour, flow, import_module, task

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
