"""The offline stage of Whence: attributes clips to training tracks and publishes one DuckDB store."""
