"""A signal stops the learner where it is whole, and a second one ends the process."""

from __future__ import annotations

import os
import signal

import pytest

from tenuto.cli.shared.interrupt import Interrupt


def test_while_waiting_it_stops_at_once() -> None:
    with Interrupt() as interrupt:
        interrupt.wait()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.signal is signal.SIGINT


def test_in_a_step_it_stops_behind_it() -> None:
    with Interrupt() as interrupt:
        interrupt.step()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.signal is signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            interrupt.step()


def test_the_second_signal_ends_the_process() -> None:
    child = os.fork()
    if child == 0:
        with Interrupt() as interrupt:
            interrupt.step()
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGINT


def test_what_handled_the_signals_before_handles_them_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupt():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
