# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own scene
#
# **What becomes of a scene of mine?**
#
# Name a file and say what its samples are. A window of at most 1024 pixels a side is explored; `sarlab compress` takes
# the whole.

# %%
from sarlab.views.explorers.own_scene import OwnSceneExplorer

explorer = OwnSceneExplorer()
explorer.widget

# %% [markdown]
# By code, for a closer look: set `explorer.controls[...].value` and read `explorer.state`.
