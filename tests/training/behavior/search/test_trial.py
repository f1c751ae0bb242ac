import argparse
import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest

from service.errors import InvalidConfig, NotFound
from training.behavior import command
from training.behavior.search.space import draw_trials
from training.behavior.search.trial import (
    TrialPlan,
    check_base,
    default_space,
    train_trial,
    trial_config,
)
from training.behavior.settings import BehaviorTraining
from training.commands import search
from training.runs import Run, create_run, open_run

pytestmark = pytest.mark.needs_train

TINY = (
    "--size 64x64 --validation mouse1 --test mouse2 --flow-frames 2 --dilations 1 2 --threads 1 "
    "--flow-epochs 1 --flow-samples 16 --features-epochs 1 --features-samples 16 "
    "--sequence-epochs 1 --precision 32-true"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, behavior_project: Path) -> Run:
    out = tmp_path_factory.mktemp("runs") / "base"
    parser = argparse.ArgumentParser()
    command.configure(parser)
    assert (
        command.run(parser.parse_args([str(behavior_project), "--out", str(out), *TINY.split()]))
        == 0
    )
    return open_run(out)


def plan_of(base: Run, **changes: object) -> TrialPlan:
    values: dict[str, object] = {
        "base": str(base.directory),
        "stage": "features",
        "epochs": 2,
        "threads": 1,
        "backbone_weights": None,
    }
    return msgspec.convert(values | changes, TrialPlan)


@pytest.mark.parametrize("stage", ["features", "sequence"])
def test_a_trial_trains_one_stage_and_tells_the_score_of_each_epoch(
    base: Run, tmp_path: Path, stage: str
) -> None:
    plan = plan_of(base, stage=stage)
    scores: list[float] = []
    train_trial({"dropout": 0.1}, msgspec.to_builtins(plan), tmp_path, scores.append)
    assert len(scores) == 2
    assert all(0 <= one <= 1 for one in scores)
    run = open_run(tmp_path / "run")
    assert run.config["dropout"] == 0.1
    assert (run.directory / "flow").is_symlink()
    assert (run.directory / stage / "checkpoints" / "best.ckpt").is_file()
    assert (run.directory / "sequence").exists() == (stage == "sequence")


def test_the_settings_of_a_trial_are_those_of_the_base_with_its_own(base: Run) -> None:
    config = trial_config(base, plan_of(base), {"features.learning_rate": 0.5, "dropout": 0.2})
    settings = msgspec.convert(config, BehaviorTraining)
    assert settings.features.learning_rate == 0.5
    assert settings.features.epochs == 2
    assert settings.features.samples_per_epoch == 16
    assert settings.dropout == 0.2
    assert settings.flow == base.settings("behavior", BehaviorTraining).flow


def test_a_setting_that_does_not_exist_is_named_before_anything_is_trained(base: Run) -> None:
    with pytest.raises(InvalidConfig, match=r"features\.speed = 3 cannot be trained with"):
        trial_config(base, plan_of(base), {"features.speed": 3})


@pytest.mark.parametrize("stage", ["features", "sequence"])
def test_the_default_ranges_are_settings_that_exist(base: Run, stage: str) -> None:
    plan = plan_of(base, stage=stage)
    for sequence, l2_sp in (("causal", None), ("tgm", (1e-5, 1e-3))):
        space = default_space(plan.stage, {"sequence_model": sequence, "l2_sp": l2_sp})
        for trial in draw_trials(space, 3, seed=1):
            trial_config(base, plan, trial)


def test_a_base_run_without_its_earlier_stages_is_refused(base: Run, tmp_path: Path) -> None:
    bare = create_run(tmp_path, "bare", "behavior", base.config)
    with pytest.raises(NotFound, match="has not finished the stage flow"):
        check_base(bare, plan_of(bare))


def test_a_base_run_whose_checkpoints_a_study_deleted_is_refused_before_the_trials(
    base: Run, tmp_path: Path
) -> None:
    shutil.copytree(base.directory, tmp_path / "base")
    shutil.rmtree(tmp_path / "base" / "flow" / "checkpoints")
    with pytest.raises(NotFound, match=r"flow has no checkpoint; .* unless it is given --keep"):
        check_base(open_run(tmp_path / "base"), plan_of(base))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_the_command_searches_and_leaves_the_base_run_as_it_was(base: Run, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="run `uv sync --inexact --extra search`")
    parser = argparse.ArgumentParser()
    search.configure(parser)
    out = tmp_path / "search"
    options = f"--out {out} --trials 2 --epochs 1 --at-once 1"
    assert search.run(parser.parse_args(["behavior", str(base.directory), *options.split()])) == 0
    best = tomllib.loads((out / "best.toml").read_text())
    assert "learning_rate" in best["features"]
    assert (base.directory / "flow" / "checkpoints" / "best.ckpt").is_file()
    assert not [one for one in out.rglob("*.ckpt") if "flow" not in str(one)]
