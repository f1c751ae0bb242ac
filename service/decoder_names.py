"""Names of the decoders of video files, for settings and command lines; loads nothing."""

AUTO_ORDER = ("dali", "nvcodec", "pyav")
"""What `auto` tries, in this order, for each file; see `service.video.ladder`."""

DECODER_CHOICES = ("auto", *AUTO_ORDER)
