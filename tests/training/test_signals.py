import os
import signal
import threading

import pytest

from tunesmith.training.signals import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal_name == number.name
    assert signal.getsignal(number) is before


def test_a_second_interrupt_stops_at_once():
    with StopRequest(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_elsewhere_it_never_becomes_true():
    noted = []

    def work():
        with StopRequest() as stop:
            noted.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [False]
