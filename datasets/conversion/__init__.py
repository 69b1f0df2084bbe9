"""Convert a corpus in any format into a dataset: normalise turns, write audio, draw subsets, record hashes."""
