"""Studies: tables of many trainings that answer one question, as the paper's figures do.

settings.py says what a study is and plans its rows, worker.py trains one row, drive.py trains
all of them and stores each when it is done, tables.py and plots.py say what came out.
"""
