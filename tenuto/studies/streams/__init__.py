"""Streams of the world that move: what is answered before it is learned, with and without an answer to drift.

`electricity`, `digits` and `mnist360` make the streams, `measuring` walks a learner along one and `campaign`
along all, `river` walks River's; `telling` makes of it tables and a page.
"""
