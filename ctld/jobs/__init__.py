"""The job supervisor: it keeps programs running.

`state.py` decides, `jobfile.py` and `store.py` say what there is, `process.py` and `job.py`
act, and `supervisor.py` is what commands talk to.  Nothing here knows of commands or wires.
"""
