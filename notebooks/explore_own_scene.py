# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own scene
#
# **What does compression do to a scene of mine?**
#
# Enter the path of a file and choose the quantity of its samples. The explorer compresses a window of at most 1024×1024
# pixels; the command below the numbers compresses the whole scene. Draw windows on the recorded image to measure the
# looks in them.

# %%
from sarlab.views.explorers.rate_distortion import OwnSceneExplorer

explorer = OwnSceneExplorer()
explorer.widget

# %% [markdown]
# In code, set `explorer.controls[...].value` and read `explorer.state`.
