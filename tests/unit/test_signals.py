import signal
import subprocess
import sys
import threading
import time

from domain.signals import Flag

PROGRAM = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for the background jobs of a script
from ops.signals import end_on_signals
end_on_signals()
try:
    print("ready", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("cleaned up", flush=True)
"""


def test_sigterm_ends_a_command_that_a_script_started_in_the_background():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        command.send_signal(signal.SIGTERM)
        assert command.stdout.readline() == "cleaned up\n"
        assert command.wait(10) == 0


#: Waits again and again under a signal per millisecond. With an Event in place of the Flag it ends within the
#: second: in a handler that waits for the lock of the wait that it has interrupted.
BUSY = """
import signal, time
from domain.signals import Flag

flag, waits, told = Flag(), 0, 0
signal.signal(signal.SIGALRM, lambda *_: flag.set())
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
until = time.monotonic() + 1.5
while time.monotonic() < until:
    told += flag.wait(0.0001)
    flag.clear()
    waits += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(waits > 100, told > 10)
"""


def test_a_signal_that_comes_within_the_wait_for_it_ends_the_wait():
    ended = subprocess.run(
        [sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.stdout, ended.returncode) == ("True True\n", 0), ended.stderr[-500:]


def test_a_flag_is_raised_until_it_is_cleared():
    flag = Flag()
    assert not flag.wait(0)
    flag.set()
    flag.set()
    assert flag.is_set()
    assert flag.wait()
    flag.clear()
    assert not flag.is_set()
    assert not flag.wait(0.01)


def test_a_wait_without_a_time_ends_with_the_signal():
    flag = Flag()
    threading.Timer(0.1, flag.set).start()
    began = time.monotonic()
    assert flag.wait()
    assert time.monotonic() - began >= 0.1 - 0.02


def test_a_wait_with_a_time_ends_without_one():
    began = time.monotonic()
    assert not Flag().wait(0.05)
    assert 0.04 < time.monotonic() - began < 5


#: Another thread takes the signal, so that it wakes nobody: as one that comes before the main thread blocks.
UNHEARD = """
import signal, threading, time
from domain.signals import Flag

flag = Flag()
signal.signal(signal.SIGTERM, lambda *_: flag.set())

def tell():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=tell, daemon=True).start()
print(flag.wait())
"""


def test_a_signal_that_does_not_wake_the_wait_for_it_ends_it_soon():
    ended = subprocess.run(
        [sys.executable, "-c", UNHEARD], capture_output=True, text=True, timeout=10, check=False
    )
    assert (ended.stdout, ended.returncode) == ("True\n", 0), ended.stderr[-500:]
