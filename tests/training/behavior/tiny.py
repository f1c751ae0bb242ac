"""Trainings that take seconds."""

import argparse

from training.behavior import command

TINY = (
    "--size 64x64 --flow-frames 2 --dilations 1 2 --threads 1 --flow-epochs 1 --flow-samples 16 "
    "--features-epochs 1 --features-samples 16 --sequence-epochs 1 --precision 32-true"
)


def train(*arguments: object) -> int:
    """Run `ethostream train behavior`."""
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(one) for one in arguments]))
