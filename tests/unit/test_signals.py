import signal
import subprocess
import sys

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
