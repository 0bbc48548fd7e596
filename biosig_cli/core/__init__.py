"""What every floor stands on: errors, settings, the machine, progress, files."""
