# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Two codecs side by side
#
# **Which of two codecs keeps more at the same number of bytes?**
#
# Files of both are made ahead for every rate; the bars show how far that is.

# %%
from sarlab.views.explorers.side_by_side import SideBySideExplorer

explorer = SideBySideExplorer()
explorer.widget

# %% [markdown]
# By code, for a closer look: set `explorer.controls[...].value` and read `explorer.state`.
