"""What an encoder is used for, and how well it does, beside answers that need none."""
