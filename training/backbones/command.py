"""`ethostream train backbone`; its work stands apart, so that --help needs no torch."""

import argparse
from pathlib import Path

from training.arguments import frame_size

_BACKBONES = ("mobilenet_v2", "efficientnet_lite0", "resnet_18", "resnet_34", "resnet_50")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.epilog = (
        "Writes OUT/backbone.pth, which --backbone-weights of the other trainings takes. Name "
        "videos of many scenes, without the test recordings of what it will be used for."
    )
    add = parser.add_argument
    add("videos", nargs="*", type=Path, metavar="VIDEO", help="videos, folders of pictures")
    add("--out", type=Path, required=True, help="folder of the run, runs/NAME")
    add("--resume", action="store_true", help="continue the run at --out")
    add("--teacher", choices=_BACKBONES, default="mobilenet_v2", help="whose features are learned")
    add("--teacher-weights", type=Path, required=True, help="file of its ImageNet weights")
    add("--student", choices=_BACKBONES, default="resnet_18", help="what learns them")
    add("--student-weights", type=Path, help="file of weights that it starts at; else random ones")
    add("--size", type=frame_size, default=(256, 144), help="of the frames in px, multiples of 32")
    add("--color", choices=("gray", "rgb"), default="gray", help="of the frames")
    add("--every", type=int, default=4, metavar="N", help="use every N-th frame of a video")
    add("--most-frames", type=int, default=1000, metavar="N", help="of one video")
    add("--epochs", type=int, default=10, metavar="N", help="of the training")
    add("--samples", type=int, default=2048, metavar="N", help="augmented frames an epoch")
    add("--batch-size", type=int, default=24, metavar="N", help="frames a step")
    add("--learning-rate", type=float, default=2e-3, metavar="R", help="peak learning rate")
    add("--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed", help="arithmetic")
    add("--seed", type=int, default=1, metavar="N", help="of frames and weights")
    add("--threads", type=int, metavar="N", help="processor threads; torch's choice if absent")


def run(arguments: argparse.Namespace) -> int:
    """Train, or continue, and print where the weights are."""
    import msgspec

    from service.bundle import InputSpec
    from service.errors import InvalidConfig
    from training.backbones.distill import BackboneTraining, distill, name_weights
    from training.runs import create_run, open_to_resume

    out: Path = arguments.out
    weights: Path = arguments.teacher_weights
    student_weights: Path | None = arguments.student_weights
    for whose, file in (("teacher", weights), ("student", student_weights)):
        if file is not None and not file.is_file():
            raise InvalidConfig(f"{file} does not exist; name a file of the {whose}'s weights")
    if arguments.resume:
        current = open_to_resume(out, arguments.videos)
    else:
        if not arguments.videos:
            raise InvalidConfig("no video was named; give some of the scenes that it will see")
        width_px, height_px = arguments.size
        settings = BackboneTraining(
            videos=tuple(str(path.resolve()) for path in arguments.videos),
            every=arguments.every,
            most_frames=arguments.most_frames,
            input=InputSpec(
                width_px=width_px, height_px=height_px, color=arguments.color, fit="letterbox"
            ),
            teacher=arguments.teacher,
            teacher_weights=name_weights(weights),
            student=arguments.student,
            student_weights=name_weights(student_weights) if student_weights else None,
            epochs=arguments.epochs,
            samples_per_epoch=arguments.samples,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            seed=arguments.seed,
            precision=arguments.precision,
            threads=arguments.threads,
        )
        current = create_run(out.parent, out.name, "backbone", msgspec.to_builtins(settings))
    print(distill(current, weights, student_weights, resume=arguments.resume))
    return 0
