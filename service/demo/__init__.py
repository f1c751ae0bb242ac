"""The parts of `ethostream demo`: a server of its own, the truth, the comparison, the report.

`commands/demo.py` puts them together; `commands/_rig.py` is the camera that streams live.
"""
