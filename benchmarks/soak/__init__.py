"""A soak: a real daemon under a mixed load with random faults, and what has to be true of it afterwards."""
