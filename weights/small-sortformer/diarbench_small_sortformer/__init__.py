"""The weights of diarbench's small Sortformer, ``small-sortformer.nemo``."""
