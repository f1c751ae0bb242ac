"""What was chosen becomes a settings file that the server takes."""

from pathlib import Path

from service.config import load_config
from service.tuning.choice import Candidate, Choice, EngineChoice
from service.tuning.settings_file import write_settings


def test_the_file_says_what_was_chosen_and_why(tmp_path):
    chosen = Candidate("onnxruntime", "int8", 2, 4, 0.005, 0.02, 200.0)
    choice = Choice(EngineChoice(chosen, "the engine's reason"), 3, "the decoders' reason")
    out = tmp_path / "new" / "tuned.toml"
    models = Path('/models of "ours" \\ für uns')
    write_settings(out, choice, models=models, bundles=["a", "b@2"], head="the head")
    config = load_config(out)
    assert (config.engine.engine, config.engine.precision, config.engine.threads) == (
        "onnxruntime",
        "int8",
        2,
    )
    assert config.scheduler.batch_sizes == (1, 2, 4)
    assert config.archive.frames_in_flight == 16
    assert config.video.decode_workers == 3
    assert config.models.directory == str(models)
    assert config.models.load == ("a", "b@2")
    text = out.read_text()
    for said in ("the head", "the engine's reason", "the decoders' reason"):
        assert f"# {said}" in text
