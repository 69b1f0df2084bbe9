"""From a corpus in any format to a dataset: normalise, write the audio, draw the split, record hashes."""
