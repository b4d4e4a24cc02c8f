# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Two codecs side by side
#
# **Which of two codecs keeps more at the same number of bytes?**
#
# Files of both codecs are computed ahead for every rate; the bars show the progress.

# %%
from sarlab.views.explorers.rate_distortion import SideBySideExplorer

explorer = SideBySideExplorer()
explorer.widget

# %% [markdown]
# In code, set `explorer.controls[...].value` and read `explorer.state`.
