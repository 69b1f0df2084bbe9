"""Datasets that `bench data fetch` knows by name."""
