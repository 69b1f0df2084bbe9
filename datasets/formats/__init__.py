"""A reader for each annotation format, and the detection of a source's format."""
