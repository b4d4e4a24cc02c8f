# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One experiment
#
# One network at one compression ratio, trained on the training scenes and measured on scenes it has never seen.
# `sarlab sweep` executes this notebook once per run of a plan. By hand, change the next cell and run all, or pass
# parameters to papermill; a table may name some keys only, the others keep the defaults of the next cell:
#
#     jupytext --to ipynb run_experiment.py
#     papermill run_experiment.ipynb done.ipynb -y "model: {latent_channels: 8}" -p seed 1

# %% tags=["parameters"]
scenes = {"source": "bigearthnet", "quantity": "auto"}
model = {"architecture": "residual", "init": "klt", "spatial_reduction": 16, "latent_channels": 16}
quantizer = {"scheme": "float32", "bits": 32}
train = {"steps": 200}
seed = 0
defaults = {"scenes": scenes, "model": model, "quantizer": quantizer, "train": train, "seed": seed}
folder = ""  # folder of the run; empty: its own folder in runs/
overwrite = False  # replace another finished experiment in that folder
device = "auto"
time_budget = 0  # seconds after which the training stops with a checkpoint; 0: no limit

# %% tags=["hide-input"]
from sarlab.lab import experiment
from sarlab.views import runpage

given = {"scenes": scenes, "model": model, "quantizer": quantizer, "train": train, "seed": seed}
spec = experiment.specification(defaults, given)
outcome = experiment.run(
    spec,
    folder or experiment.default_folder(spec),
    device=device,
    progress=experiment.print_progress,
    time_budget=time_budget or None,
    overwrite=overwrite,
)
runpage.headline(outcome)

# %% [markdown]
# ## Reconstruction
#
# Original, reconstruction and their difference on the test scene, with a zoom.

# %% tags=["hide-input"]
runpage.show(outcome, "scene")

# %% [markdown]
# ## Measurements
#
# PSNR is of dB values clipped to the stated range; bytes are those of the packed latent, without entropy coding.

# %% tags=["hide-input"]
runpage.table(outcome)

# %% [markdown]
# ## Training

# %% tags=["hide-input"]
runpage.show(outcome, "history")

# %% [markdown]
# ## The latent
#
# The channels of largest variance.

# %% tags=["hide-input"]
runpage.show(outcome, "latent")

# %% [markdown]
# ## Distribution of the samples

# %% tags=["hide-input"]
runpage.show(outcome, "histogram")

# %% [markdown]
# ## Provenance

# %% tags=["hide-input"]
runpage.provenance(outcome)
