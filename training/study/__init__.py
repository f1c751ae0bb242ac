"""What the studies of all tasks share: rows that are trained one by one, tables and pictures.

A study trains one network for each of its rows, each in a process of its own, stores what came
out as soon as a row is done, and goes on where it stopped when it is started again.
"""
