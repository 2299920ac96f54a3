"""Taskmaster's wire: JSON that ends in `;;`, one answer per query, in order."""
