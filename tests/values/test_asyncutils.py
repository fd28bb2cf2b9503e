"""The helpers for code that is both sync and async."""

import asyncio
import threading

import pytest

from riverrun.utilities import asyncutils


async def double(x: int) -> int:
    await asyncio.sleep(0)
    return x * 2


def test_a_coroutine_from_sync_code_beside_a_running_loop_too() -> None:
    assert asyncutils.run_coro_as_sync(double(2)) == 4

    async def main() -> int:
        return asyncutils.run_coro_as_sync(double(3))

    assert asyncio.run(main()) == 6


def test_blocking_work_runs_in_a_thread() -> None:
    async def main() -> int:
        return await asyncutils.run_sync_in_worker_thread(threading.get_ident)

    assert asyncio.run(main()) != threading.get_ident()


def test_sync_compatible_follows_its_caller() -> None:
    either = asyncutils.sync_compatible(double)
    assert either(2) == 4

    async def main() -> tuple[int, int]:
        return await either(2), either(3, _sync=True)

    assert asyncio.run(main()) == (4, 6)
    assert either.aio is double  # type: ignore[attr-defined]


def test_gather_raises_the_first_error_as_it_is() -> None:
    async def fails() -> int:
        raise ValueError("no")

    assert asyncio.run(asyncutils.gather(lambda: double(1), lambda: double(2))) == [2, 4]
    with pytest.raises(ValueError, match="no"):
        asyncio.run(asyncutils.gather(fails, lambda: double(1)))


def test_a_task_that_nobody_keeps_ends_all_the_same() -> None:
    async def main() -> int:
        done = asyncio.get_running_loop().create_future()

        async def work() -> None:
            done.set_result(await double(2))

        asyncutils.create_task(work())
        return await done

    assert asyncio.run(main()) == 4


def test_colours_of_functions() -> None:
    async def items():  # type: ignore[no-untyped-def]
        yield 1

    assert (asyncutils.is_async_fn(double), asyncutils.is_async_fn(items)) == (True, False)
    assert (asyncutils.is_async_gen_fn(double), asyncutils.is_async_gen_fn(items)) == (False, True)
