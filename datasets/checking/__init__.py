"""`bench data check`: errors and warnings about a dataset, and automatic fixes for the unambiguous ones."""
