"""The HTTP API: parse, ask the hub, render. ``routes`` is the table of contents."""
