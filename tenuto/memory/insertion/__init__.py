"""Insertion policies, one file each: `policy(capacity, seed)`."""
