"""Pure functions on samples: numpy and scipy in, numpy out."""
