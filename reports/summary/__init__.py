"""What every report says of a comparison: rows in reading order, comparability, and the verdict."""
