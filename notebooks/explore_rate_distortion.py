# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rate and distortion
#
# **What does a codec keep, and what does it throw away?**
#
# Pick a codec and move its quality. What is thrown away must look like speckle, not like structure. Draw windows over
# homogeneous areas to see the looks in them before and after.

# %%
# %matplotlib widget
from sarlab.views.explorers.rate_distortion import RateDistortionExplorer

explorer = RateDistortionExplorer()
explorer.widget

# %% [markdown]
# Draw windows here with the mouse.

# %%
explorer.windows.draw_on()

# %% [markdown]
# By code, for a closer look: set `explorer.controls[...].value` and read `explorer.state`.
