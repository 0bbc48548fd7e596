"""Windows from recordings."""
