"""One file per command: its config, its function, its result."""
