"""Archives: many videos to result files, unattended, on from where an earlier run was stopped.

`lease` says who works on a video, `chunks` keeps its finished rows, `manifest` what is known of
it. `video` takes one video from its file to its results, `finish` writes these in a process of its
own, and `runner` works through many.
"""
