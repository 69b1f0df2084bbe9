"""Simulated conversations and perturbed copies of recordings."""
