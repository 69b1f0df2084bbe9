"""The command ``bench``: a module for each group of commands. No module here imports a toolkit at the top."""
