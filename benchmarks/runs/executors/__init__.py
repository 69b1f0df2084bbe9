"""Where runs are worked: each executor starts the worker's process on a run's job file."""
