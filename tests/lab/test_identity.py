"""The hash covers what decides a result and nothing else; ids alone do not hide how twins differ."""

from dataclasses import replace

from sarlab.lab import identity
from sarlab.specs import RunSpec, SceneSpec


def test_path_of_the_scenes_does_not_count_but_their_content_does():
    here, there = RunSpec(SceneSpec("a.tif", "db")), RunSpec(SceneSpec("b.tif", "auto"))
    assert identity.run_hash(here, "d") == identity.run_hash(there, "d")
    assert identity.run_hash(here, "d") != identity.run_hash(here, "e")


def test_every_field_of_the_spec_and_the_version_count(monkeypatch):
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
    monkeypatch.setattr(identity, "EXPERIMENT_VERSION", identity.EXPERIMENT_VERSION + 1)
    hashes.add(identity.run_hash(spec, "d"))
    assert len(hashes) == 3 + sum(map(len, changes.values()))


def test_a_users_architecture_counts_by_its_source(tmp_path, monkeypatch):
    from sarlab.models.autoencoders import architectures

    digests = []
    for step, body in enumerate(("x = 1", "x = 2", "x = 2")):
        name = f"users_network_{step}"
        (tmp_path / f"{name}.py").write_text(f"class Net:\n    {body}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        module = __import__(name)
        monkeypatch.setitem(architectures._items, name, module.Net)
        digests.append(identity._plugin_digest(name))
    assert digests[0] != digests[1]
    assert digests[1] == digests[2]
    assert identity._plugin_digest("plain") == ""


def test_runs_of_one_label_are_told_apart_by_the_fields_that_differ():
    spec = RunSpec()
    slow = replace(spec, train=replace(spec.train, learning_rate=1e-4))
    short = replace(slow, train=replace(slow.train, steps=10))
    other = replace(spec, seed=1)
    assert identity.distinctions([spec, slow, short, other]) == [
        "steps=300 learning_rate=0.001",
        "steps=300 learning_rate=0.0001",
        "steps=10 learning_rate=0.0001",
        "",
    ]
