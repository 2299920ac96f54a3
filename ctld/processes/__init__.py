"""Children of the daemon: started, watched, signalled, reaped, and recognised later.

Theory of operation.  A child is started by `subprocess.Popen` in a session, and so a process
group, of its own: `asyncio.create_subprocess_exec` on uvloop refuses `user`, `umask` and
`process_group`, and its watchers differ from loop to loop.  Its end is seen by a pidfd that
the loop watches as it watches a socket: no SIGCHLD handler, no thread, no polling, the same
on asyncio and uvloop.  It is reaped exactly once, by that watcher, and until then its pid
and the number of its group belong to nobody else: a signal to the group cannot hit a stranger.

What Popen has an argument for goes through Popen (cwd, umask, user, group, session): with
vfork that blocks the loop for about 0.2 ms.  With a user it is a true fork, whose cost grows
with the daemon's memory (5 ms at 300 MB).  Popen holds the interpreter's lock meanwhile, so
a thread would gain nothing.  What Popen has no safe argument for (limits, nice, a controlling
terminal, death with the parent) is done by `launcher.py`, a second interpreter that execs the
program: `preexec_fn` may deadlock in a process with threads, and changing the limits of the
live process from outside comes too late.  It costs 7 ms, off the loop, and only who asks for it.

Not covered: a process that leaves its session (a classic double-forking daemon) is no longer
the child's; only a cgroup could hold it.
"""

from subprocess import DEVNULL, PIPE, STDOUT

from ctld.processes.accounts import Account, find_account
from ctld.processes.child import Child, ExitStatus
from ctld.processes.environment import inherited_environment
from ctld.processes.identity import ProcessIdentity
from ctld.processes.spawning import Spawn, adopt, is_launcher, spawn
from ctld.processes.terminal import Terminal, open_terminal

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Account",
    "Child",
    "ExitStatus",
    "ProcessIdentity",
    "Spawn",
    "Terminal",
    "adopt",
    "find_account",
    "inherited_environment",
    "is_launcher",
    "open_terminal",
    "spawn",
]
