import os
import signal
import threading

import pytest

from tunesmith.errors import InterruptedRunError
from tunesmith.training.signals import SIGNALS, StopRequest, StopSignal, stopped_by


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_request_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal_name == number.name
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_stops_at_once(second):
    with StopRequest(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), second)


def test_where_nothing_can_be_lost_a_signal_is_raised_and_one_that_came_before_too():
    with StopRequest() as stop, pytest.raises(StopSignal, match="SIGTERM"), stop.raising():
        os.kill(os.getpid(), signal.SIGTERM)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(StopSignal, match="SIGUSR1"), stop.raising():
            pytest.fail("it is raised before")


def test_code_that_goes_on_after_errors_does_not_go_on_after_a_signal():
    request = StopRequest(at_once=True)
    said = r"stopped by SIGTERM; what was ready is saved"
    with pytest.raises(InterruptedRunError, match=said) as caught, stopped_by(request):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:
            pytest.fail("a signal is no Exception")
    assert caught.value.exit_code == 75
    assert not request


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_dropped_is_raised_at_the_next_event():
    class Dropping:
        def __del__(self):  # what is raised here is printed and dropped
            os.kill(os.getpid(), signal.SIGTERM)

    with StopRequest(at_once=True) as request:
        Dropping()
        with pytest.raises(StopSignal):
            request.check()


def test_elsewhere_it_never_becomes_true():
    noted = []

    def work():
        with StopRequest() as stop:
            noted.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [False]
