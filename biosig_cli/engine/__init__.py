"""The training loop; it knows no signal."""
