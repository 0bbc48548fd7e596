"""One file per kind of source; all give the same `Record`."""
