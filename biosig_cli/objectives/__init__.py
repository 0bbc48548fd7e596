"""Questions put to an encoder while pretraining."""
