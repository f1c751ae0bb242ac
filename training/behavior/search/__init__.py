"""Search for good settings: many short trainings, most of which end early (Ray Tune, ASHA)."""
