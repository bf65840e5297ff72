"""The tables of the papers, run again with their protocols: ours beside theirs, with seeds and intervals.

`protocols` says what is run, `figures` what the papers report, `settings` what each method is given;
`campaign` runs what `results` does not hold yet, and `table` and `page` show it.
"""
