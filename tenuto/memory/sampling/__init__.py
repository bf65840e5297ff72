"""Sampling policies, one file each: `policy(seed)`."""
