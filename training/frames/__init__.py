"""Which frames of a video are worth labelling, and the pictures of them on disk.

`project` reads what a DeepLabCut project asks for, `span` the part of a video that is meant,
`shots` reads single frames by their index, `thumbnails` many small ones, `pick` chooses, `extract`
does all that for one video, and `contact_sheet` shows what was chosen.
"""
