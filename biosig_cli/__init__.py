"""`biosig`: from raw physiological recordings to a trained and honestly judged model."""

__version__ = "0.1.0"
