# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tutorial
#
# From a radar scene through a small autoencoder to a rate-distortion plot and a compressed file. On one core this takes less
# than a minute, most of it for the training.
#
# ## A scene
#
# `sarlab.scene` loads a scene that comes with the package; `sarlab.read` reads a file of yours. Here it is one
# polarization of a Sentinel-1 image, in dB.

# %%
import pandas as pd

import sarlab

scene = sarlab.scene("ben-33UUP-37-88").band("VV")
scene

# %% [markdown]
# ## A small autoencoder
#
# The network maps each block of 16×16 pixels to 16 values, the latent. It starts from the KLT, the best linear transform of
# that size, and learns to improve on it. The training scenes are other patches of the same satellite pass.

# %% tags=["parameters"]
steps = 200

# %%
model = sarlab.train("residual", latent_channels=16, steps=steps)
model

# %% [markdown]
# ## Fewer bits per latent value
#
# A file needs integers. With 8 bits the quantizer has 256 levels for the range of each latent channel, with 4 bits it has 16.

# %%
coded = {b: sarlab.quantize(model, scene, bits=b) for b in (8, 6, 5, 4, 3, 2)}
shown = {"recorded": scene}
shown |= {f"int{b}": coded[b].scene for b in (8, 4, 2)}

# %% mystnb={"image": {"alt": "Four gray pictures: the recorded scene with its speckle, and three smoother reconstructions."}}
axes = sarlab.plot.pictures(shown, low=-22, high=0)

# %% [markdown]
# ## What is lost
#
# PSNR and SSIM compare with the recorded scene, speckle included. The equivalent number of looks (ENL) rises where speckle is
# smoothed away; `enl_reference` is that of the recorded scene. `epi_roa` is 1 if all edges are preserved, and `bias_db` is 0 if
# the mean intensity is.
#
# `entropy` is in bits per latent value: a range coder needs about that many instead of the fixed number of bits. `bpp` is the
# resulting rate, in bits per pixel.

# %%
scores = {f"int{b}": sarlab.score(scene, c.scene) for b, c in coded.items()}
table = pd.DataFrame(scores).T
table["entropy"] = [c.entropy for c in coded.values()]
table["bpp"] = [c.coded_bpp for c in coded.values()]
table.round(3)

# %% [markdown]
# ## Compared with JPEG 2000
#
# Classical codecs make files at the same rates. Every point is a real file, decoded again.

# %%
codecs, rates = ["jpeg2000", "klt8"], [0.05, 0.1, 0.2, 0.3, 0.4]
others = sarlab.evaluate(codecs, scene, bpp=rates, metrics=["psnr_db"])
rows = pd.concat([table.assign(codec="autoencoder"), others])

# %% mystnb={"image": {"alt": "Rate-distortion plot: PSNR in dB over bits per pixel for the autoencoder, JPEG 2000 and a KLT codec."}}
ax = sarlab.plot.rate_distortion(rows, quality="psnr_db")

# %% [markdown]
# The curve of the autoencoder levels off at the right, because more bits per value cannot restore what the latent lacks: a
# higher PSNR needs more latent channels. At the left it falls off: there, fewer channels with more bits each do better.
#
# ## A compressed file
#
# The network above is an experiment without a file format. The codec of the package writes `.sarl` files of images of any
# size, with their metadata and georeference. `bpp` sets the size of the whole file, in bits per pixel.

# %%
from pathlib import Path

path = Path("scene.sarl")
size = path.write_bytes(sarlab.compress(scene, bpp=0.3))
print(f"{size} bytes, {8 * size / scene.data.size:.2f} bits per pixel")
sarlab.score(scene, sarlab.decompress(path)).round(3)

# %% [markdown]
# ## Where to go from here
#
# - `sarlab.read("my.tif", quantity="intensity")` instead of `sarlab.scene`, then the same calls.
# - `latent_channels` from 4 to 64 for other ratios; `architecture="klt"` for the linear transform, without training.
# - `sarlab sweep` on the command line trains a whole plan of networks and writes the report.
