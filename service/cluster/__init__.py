"""The same work on many machines: videos are handed to stations, one on each device of a cluster.

All machines see videos, bundles and results under the same paths. What was done stays on that
disk (`service.jobs`): leases keep two stations from one video, and one that is lost costs the rows
since its last chunk. The driver only hands out videos and counts.
"""
