"""A Beam worker process on this machine that ends when the job that started it is gone.

    python -m instrux.beam.worker

Beam's own worker goes on waiting for a job that was killed. The environment variables that tell it
where to report are Beam's, set by the runner.
"""

import os
import threading
import time

_LOOK_EVERY_SECS = 1.0


def end_with_parent() -> None:
    """Ends this process within a second or so of its parent's end, on a thread of its own."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY_SECS)
        os._exit(1)  # nobody is left to report to

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main() -> None:
    """Runs Beam's worker until the job is done or gone."""
    end_with_parent()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


if __name__ == "__main__":
    main()
