"""Autotune: which engine, precision, threads, batches and decode workers suit a machine.

`engines` and `decoding` measure, `choice` decides and says why, `settings_file` writes what
`ethostream serve --config` takes; `launch` goes through all of them.
"""
