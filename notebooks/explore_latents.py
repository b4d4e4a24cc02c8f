# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Latents
#
# **What does each channel of a latent hold, and what is missing without it?**
#
# Choose a network: a KLT, or one that `sarlab sweep` trained into `runs/` (elsewhere: set the environment variable
# `SARLAB_RUNS`). **Keep first** drops the channels with the smallest standard deviation; **scale it by** changes one of
# them.

# %%
from sarlab.views.explorers.latents import LatentExplorer

explorer = LatentExplorer()
explorer.widget

# %% [markdown]
# In code, set `explorer.controls[...].value` and read `explorer.state`.
