# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Speckle and looks
#
# **One reflectivity, recorded with any number of looks. What of a radar image is scene, and what is noise?**
#
# Move **looks** from 1 to 100 and watch the histogram of the speckle shrink towards its law. **Correlation** is what
# resampling does to neighbors: the looks that one measures stay, the picture becomes coarser. *PSNR of perfect
# despeckling* is what a codec reaches against the recorded image if it keeps the scene and throws all of its speckle
# away.

# %%
from sarlab.views.explorers.speckle import SpeckleExplorer

explorer = SpeckleExplorer()
explorer.widget

# %% [markdown]
# By code, for a closer look: set `explorer.controls[...].value` and read `explorer.state`.
