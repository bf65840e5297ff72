"""What can be done with a home's adapter, one file each."""
