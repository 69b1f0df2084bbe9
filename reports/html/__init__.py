"""The HTML page: tables, charts and the error explorer in one file."""
