"""The result records of a comparison, how they are merged, and the paths of its files."""
