"""Encoders: tokens from windows."""
