# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quantizers
#
# **What does a bit in the latent buy?**
#
# Move **bits** and watch rate and loss. With one range per *tensor*, a single outlier makes all steps coarse; with one
# range per *channel* it does not. *Range coded* is the rate of the same values after entropy coding. The networks are
# KLTs and those that `sarlab sweep` trained into `runs/` (elsewhere: set the environment variable `SARLAB_RUNS`).

# %%
from sarlab.views.explorers.latents import QuantizerExplorer

explorer = QuantizerExplorer()
explorer.widget

# %% [markdown]
# In code, set `explorer.controls[...].value` and read `explorer.state`.
