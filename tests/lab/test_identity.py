"""The hash covers what decides a result and nothing else."""

import ast
from dataclasses import replace

from sarlab.lab import identity
from sarlab.specs import RunSpec, SceneSpec


def closure_of(source: str) -> object:
    return identity.canonical_tree(ast.parse(source))


def test_comments_docstrings_and_layout_do_not_count():
    one = 'def f(a):\n    """Add."""\n    return a + 1  # one\n'
    other = "def f(a):\n\n    return (a +\n        1)\n"
    assert closure_of(one) == closure_of(other)


def test_code_counts():
    assert closure_of("def f(a):\n    return a + 1\n") != closure_of("def f(a):\n    return a + 2\n")
    assert closure_of("x = 'a'") != closure_of("y = 'a'")
    assert closure_of("x = 1") != closure_of("x = 1.0")


def test_a_string_that_is_no_docstring_counts():
    assert closure_of("def f():\n    return 1\n    'x'\n") != closure_of("def f():\n    return 1\n")


def test_path_of_the_scenes_does_not_count_but_their_content_does():
    here, there = RunSpec(SceneSpec("a.tif", "db")), RunSpec(SceneSpec("b.tif", "auto"))
    assert identity.run_hash(here, "d") == identity.run_hash(there, "d")
    assert identity.run_hash(here, "d") != identity.run_hash(here, "e")


def test_every_field_of_the_spec_counts():
    spec = RunSpec()
    hashes = {identity.run_hash(spec, "d"), identity.run_hash(replace(spec, seed=1), "d")}
    changes = {
        "model": {"architecture": "residual", "init": "klt", "spatial_reduction": 32, "latent_channels": 3, "width": 5},
        "quantizer": {"bits": 16, "granularity": "tensor", "training": "ste"},
        "train": {"steps": 1, "threads": 2, "learning_rate": 0.5, "loss": "other"},
    }
    for part, fields in changes.items():
        for name, value in fields.items():
            changed = replace(spec, **{part: replace(getattr(spec, part), **{name: value})})
            hashes.add(identity.run_hash(changed, "d"))
    assert len(hashes) == 2 + sum(map(len, changes.values()))


def test_closure_reaches_what_a_run_is_made_of(monkeypatch):
    visited = []
    real = identity._source_of
    monkeypatch.setattr(identity, "_source_of", lambda module: visited.append(module) or real(module))
    identity.code_digest.__wrapped__()
    for module in (
        "sarlab.specs",
        "sarlab.lab.measure",
        "sarlab.models.training",
        "sarlab.models.autoencoders",
        "sarlab.models.klt",
        "sarlab.models.quantizers",
        "sarlab.models.losses",
        "sarlab.metrics.pixel",
        "sarlab.scenes.catalog",
        "sarlab.scenes.radiometry",
    ):
        assert module in visited, module
    assert not [module for module in visited if module.startswith(("sarlab.views", "sarlab.cli"))]


def test_a_users_architecture_counts_by_its_source(tmp_path, monkeypatch):
    from sarlab.models.registry import architectures

    digests = []
    for step, body in enumerate(("x = 1", "x = 2  # other", "x = 2")):
        name = f"users_network_{step}"
        (tmp_path / f"{name}.py").write_text(f"class Net:\n    {body}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        module = __import__(name)
        monkeypatch.setitem(architectures._items, name, module.Net)
        digests.append(identity._plugin_digest(name))
    assert digests[0] != digests[1]
    assert digests[1] == digests[2]
    assert identity._plugin_digest("plain") == ""
