"""`bench data check`: what is wrong with a dataset, and the repairs that need no guess."""
