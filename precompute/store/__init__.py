"""Results -> tables -> a DuckDB file, published by rename."""
