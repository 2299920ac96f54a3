"""Bytes to messages and back: pure, without asyncio, sockets or a clock."""
