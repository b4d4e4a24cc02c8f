# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Speckle and looks
#
# **How much of a radar image is scene, and how much is speckle?**
#
# The same reflectivity is recorded with any number of looks. Move **looks** from 1 to 100 and watch the histogram of the
# speckle narrow. **Correlation** of neighboring pixels, as after resampling, leaves the measured looks unchanged and
# makes the picture coarser. *PSNR of perfect despeckling* is the PSNR against the recorded image of a codec that keeps
# the scene and removes all of its speckle.

# %%
from sarlab.views.explorers.speckle import SpeckleExplorer

explorer = SpeckleExplorer()
explorer.widget

# %% [markdown]
# In code, set `explorer.controls[...].value` and read `explorer.state`.
