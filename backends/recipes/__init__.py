"""Recipes: how a network is fine-tuned. Each is a YAML file that users copy and edit."""
