# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Latents
#
# **What does each channel of a latent hold, and what is missing without it?**
#
# Choose a network: linear ones are fitted on the spot, those of finished runs are found in `runs/`. **Keep first**
# drops the channels of least spread; **scale it by** changes one of them.

# %%
from sarlab.views.explorers.latents import LatentExplorer

explorer = LatentExplorer()
explorer.widget

# %% [markdown]
# By code, for a closer look: set `explorer.controls[...].value` and read `explorer.state`.
