"""The commands: parse, load settings, call one service."""
