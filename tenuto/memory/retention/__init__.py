"""Rules for what may stay in memory, one file each: `rule(limit)`."""
