# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quantizers
#
# **What does a bit in the latent buy?**
#
# Move **bits** and watch rate and loss at once. One range for the whole *tensor* is what one outlier spoils; one for
# each *channel* is not. *Range coded* is what a range coder makes of the same values.

# %%
from sarlab.views.explorers.quantizers import QuantizerExplorer

explorer = QuantizerExplorer()
explorer.widget

# %% [markdown]
# By code, for a closer look: set `explorer.controls[...].value` and read `explorer.state`.
