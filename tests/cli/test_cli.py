"""Help whose examples work, tables of rows, and refusals: one sentence, exit status 1, nothing left behind."""

import re
import shlex

import numpy as np
import pytest

from sarlab.cli import EPILOG, VERBS, build_parser, format_table, main
from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import write_geotiff


def examples(text):
    """Commands of a help text, without the remarks after them."""
    lines = re.findall(r"^  (?:\w+=\S+ )?sarlab (.+)$", text, re.MULTILINE)
    return [shlex.split(line.split("   ")[0]) for line in lines]


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_the_examples_of_the_help_are_commands(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    found = examples(capsys.readouterr().out.partition("\n\nexamples:\n")[2] if verb else EPILOG)
    assert not verb or verb in [words[0] for words in found]
    assert found
    for words in found:
        assert callable(build_parser(words).parse_args(words).run), words


def test_a_table_has_text_to_the_left_numbers_to_the_right_and_dashes():
    rows = [{"a": "x", "b": 7, "c": ["VV", "VH"], "d": 0.5}, {"a": "", "b": 1234, "c": [], "d": float("nan")}]
    assert format_table(rows).splitlines() == ["a     b  c        d", "x     7  VV+VH  0.5", "–  1234  –        –"]
    assert format_table(rows, "b", "missing").splitlines() == ["   b  missing", "   7  –", "1234  –"]


PLAN = '[train]\nsteps = 2\npatch_size = 32\n[model]\ninit = "klt"\nlatent_channels = 4\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with files that are wrong in some way; work must not begin."""
    for module in ("codec.train_codec.train_codec", "lab.evaluate.measure", "lab.sweep.run_job"):
        monkeypatch.setattr(f"sarlab.{module}", lambda *_, **__: pytest.fail("the work began"))
    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SARLAB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    db = 10 * np.log10(np.random.default_rng(0).gamma(4, 0.02, (1, 96, 96)))
    write_geotiff(Scene(db.astype(np.float32), "db", ("VV",), "small"), tmp_path / "in.tif")
    np.save(tmp_path / "one.npy", db[0].astype(np.float32))
    np.save(tmp_path / "void.npy", np.full((64, 64), np.nan, np.float32))
    texts = {
        "notes.tif": "this is not an image\n" * 40, "README.md": "# A", "other.csv": "a,b\n1,2\n", "file": "",
        "codec.toml": 'name = "small-1"\nkind = "factorized"\nsource = "bigearthnet"\n', "mine.toml": PLAN,
        "typo.toml": "[train]\nstepz = 3\n", "study.toml": 'studies = ["nonsense"]\n' + PLAN, "m.safetensors": "x",
        "transformer.toml": PLAN + 'architecture = "transformer"\n',
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compress none.tif x.sarl", "no such file"), ("compress in.tif", "--check"),
        ("compress in.tif x.sarl --codec jpeg", "unknown codec 'jpeg'; known: "),
        ("compress in.tif x.sarl --bpp 40", "cannot be reached"), ("compress in.tif x.sarl --quality 1000", "outside"),
        ("compress in.tif x.sarl --tile 100", "tile of 100"), ("compress in.tif x.sarl --workers -1", "workers"),
        ("compress in.tif x.sarl --quantity amplitude", "negative amplitude"), ("compress in.tif file", "exists already"),
        ("compress in.tif in.tif --force", "same file"), ("compress https://example.com/x.tif x.sarl", "--allow-remote"),
        ("decompress in.tif x.tif", "does not begin with 'SARL'"), ("decompress none.sarl x.tif", "cannot be read"),
        ("info in.tif", "does not begin with 'SARL'"),
        ("train codec.toml --out model.bin", "ends in .safetensors"), ("train none.toml", "cannot be read"),
        ("train codec.toml --seconds 5", "--seconds needs --checkpoint"),
        ("train codec.toml --out m.safetensors", "exists already"),
        ("train codec.toml --out file/m.safetensors", "cannot be written"),
        ("train codec.toml --checkpoint file/state", "cannot be written"),
        ("scenes files bigearthnet", "not a collection; known: sentinel1, sentinel1-all"),
        ("scenes show sentinel1-all", "28 of 28 files are missing"), ("scenes show nothing", "no scenes named 'nothing'"),
        ("scenes show nowhere/x.tif", "no such file or folder"), ("scenes show sen1floods11", "sarlab fetch sen1floods11"),
        ("fetch nothing", "no download named 'nothing'"), ("codecs nope", "unknown codec"),
        ("evaluate", "needs --codecs"), ("evaluate --codecs sperr --scenes one.npy", "needs --out"),
        ("evaluate --codecs nope --scenes one.npy --out x.csv", "unknown codec"),
        ("evaluate --codecs sperr --scenes one.npy --out x.txt", "end in"),
        ("evaluate --codecs sperr --scenes nowhere/ --out x.csv", "nowhere"),
        ("evaluate --codecs sperr --scenes void.npy --quantity db --out x.csv", "void"),
        ("evaluate --codecs sperr --scenes one.npy --out x.csv --bpp much", "not a list"),
        ("evaluate --codecs sperr --scenes one.npy --quantity db --out x.csv --clip 5 -5", "low < high"),
        ("evaluate --codecs sperr --scenes one.npy --out x.csv --metrics beauty", "beauty"),
        ("evaluate --codecs sperr --scenes one.npy --out file/x.csv", "choose another folder with --out"),
        ("evaluate --codecs sperr --scenes one.npy --out x.csv --save-files file/x", "folder with --save-files"),
        ("evaluate bd", "not understood"), ("evaluate bd missing.csv", "no such table"),
        ("recommend --rows other.csv", "no column codec"), ("recommend --rows README.md --min psnr=1", "is not a table"),
        ("recommend --rows missing.csv --min psnr=1", "no such table; give a table that 'sarlab evaluate"),
        ("recommend --min psnr=1 --book .", "no measured operating points"),
        ("sweep typo.toml", "stepz"), ("sweep transformer.toml", "unknown architecture 'transformer'"),
        ("sweep study.toml", "nonsense"), ("sweep yours", "or the path of a .toml file"),
        ("sweep mine.toml --only nothing", "no run of plan 'mine' matches"),
        ("sweep mine.toml --scheduler tcp://x:1 --engine inline", "cannot be combined"),
        ("sweep mine.toml --scenes missing.tif", "missing.tif"), ("sweep mine.toml --scenes notes.tif", "notes.tif"),
        ("sweep mine.toml --scenes one.npy --quantity amplitude", "negative"), ("sweep mine.toml --scenes void.npy", "void"),
        ("sweep mine.toml --runs file/runs --engine inline", "choose another folder with --runs"),
        ("report --published --out file/below", "choose another folder with --out"),
        ("publish smoke --book file/below", "is not a book"), ("publish smoke", "no book in this folder or above"),
        ("cost mine.toml --memory 0", "must be positive"), ("reproduce nowhere", "no complete run here"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_and_leaves_nothing(command, message, folder, capsys):
    before = sorted(folder.rglob("*"))
    assert main(command.split()) == 1
    out, error = capsys.readouterr()
    assert out == "" or command.startswith("sweep")
    assert error.startswith("sarlab: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
