"""Invented facts taught to a language model one by one, and what it knew before."""
