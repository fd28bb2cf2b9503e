"""Deadlines of coroutines: ours, the user's own, and cancellations from elsewhere."""

import asyncio
import time

import pytest

from riverrun.engine.timeouts import DeadlineExceeded, acall_with_timeout

WAIT = 10.0


class TestCoroutines:
    def run(self, coroutine):
        return asyncio.run(coroutine)

    def test_value_error_and_arguments(self):
        async def add(a, b):
            return a + b

        async def bad():
            raise LookupError("x")

        assert self.run(acall_with_timeout(add, (1,), {"b": 2}, WAIT)) == 3
        with pytest.raises(LookupError):
            self.run(acall_with_timeout(bad, (), {}, WAIT))

    def test_cancels_at_the_deadline(self):
        ends = []

        async def sleeper():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        with pytest.raises(DeadlineExceeded, match="sleeper timed out after 0.01"):
            self.run(acall_with_timeout(sleeper, (), {}, 0.01))
        assert ends == ["cancelled"]

    def test_zero_does_not_begin(self):
        async def never():
            raise AssertionError

        with pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(never, (), {}, 0))

    def test_the_users_own_timeouts_and_cancellations_pass(self):
        async def own_timeout():
            async with asyncio.timeout(0.001):
                await asyncio.sleep(WAIT)

        async def own_error():
            raise TimeoutError("mine")

        async def own_cancel():
            raise asyncio.CancelledError("mine")

        for function in (own_timeout, own_error):
            with pytest.raises(TimeoutError) as caught:
                self.run(acall_with_timeout(function, (), {}, WAIT))
            assert not isinstance(caught.value, DeadlineExceeded)
        with pytest.raises(asyncio.CancelledError):
            self.run(acall_with_timeout(own_cancel, (), {}, WAIT))

    def test_a_cancellation_from_outside_stays_one(self):
        async def sleeper():
            await asyncio.sleep(WAIT)

        async def main():
            task = asyncio.ensure_future(acall_with_timeout(sleeper, (), {}, WAIT))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return task.cancelled()

        assert self.run(main())

    def test_swallowing_or_translating_the_cancellation_still_timed_out(self):
        async def swallows():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                return "fine"

        async def translates():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                raise KeyError(1) from None

        with pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(swallows, (), {}, 0.01))
        with pytest.raises(DeadlineExceeded) as caught:
            self.run(acall_with_timeout(translates, (), {}, 0.01))
        assert isinstance(caught.value.__cause__, KeyError)

    def test_code_that_blocked_the_loop_past_its_deadline_timed_out(self):
        async def blocks():
            time.sleep(0.02)
            return "late"

        with pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(blocks, (), {}, 0.005))

    def test_nested(self):
        async def sleeper():
            await asyncio.sleep(WAIT)

        async def outer():
            try:
                await acall_with_timeout(sleeper, (), {}, 0.01, "inner")
            except DeadlineExceeded as error:
                assert error.name == "inner"
            await acall_with_timeout(sleeper, (), {}, WAIT, "second")

        with pytest.raises(DeadlineExceeded) as caught:
            self.run(acall_with_timeout(outer, (), {}, 0.05, "outer"))
        assert caught.value.name == "outer"

    def test_a_coroutine_that_goes_on_is_reported(self, monkeypatch, caplog):
        monkeypatch.setattr("riverrun.engine.timeouts.STUBBORN_SECONDS", 0.01)

        async def stubborn():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)

        with caplog.at_level("WARNING", logger="riverrun.timeouts"), pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(stubborn, (), {}, 0.01))
        assert "stubborn was cancelled at its timeout of 0.01 second(s) but goes on" in caplog.text
