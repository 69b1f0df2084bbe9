"""Planning, running, tuning and comparing runs, and using a finished run."""
