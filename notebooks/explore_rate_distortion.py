# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rate and distortion
#
# **What does a codec keep, and what does it throw away?**
#
# Choose a codec and move its quality. The residual should look like speckle, not like structure. Draw windows on
# homogeneous areas of the recorded image to compare the looks in them before and after.

# %%
from sarlab.views.explorers.rate_distortion import RateDistortionExplorer

explorer = RateDistortionExplorer()
explorer.widget

# %% [markdown]
# In code, set `explorer.controls[...].value` and read `explorer.state`.
