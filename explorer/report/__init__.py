"""Evidence reports: one offline HTML file, rows as CSV and Parquet."""
