"""What can be asked for: the registry, the dispatcher and the built-in commands."""
