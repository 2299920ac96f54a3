"""Sessions: a program behind a connection, with its terminal, pipes, or the client's own descriptors."""
