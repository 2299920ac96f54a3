"""The privilege-separated worker on stdin and stdout, and the pool that drives workers.

Nothing is imported here: the worker starts in milliseconds because it loads only what it
needs, and `import ctld.gatherer.worker` runs this file first.
"""
