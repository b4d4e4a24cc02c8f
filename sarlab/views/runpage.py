"""What the notebook of an experiment shows: one function a cell."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sarlab.lab.experiment import Outcome

FIGURES = "figures"


def headline(outcome: Outcome) -> Any:
    """The run in two sentences, computed."""
    from IPython.display import Markdown

    rows = outcome.rows
    test = rows[rows["split"] == "test"]
    first = rows.iloc[0]
    values = ", ".join(f"{row.band} **{row.psnr_db:.2f} dB**" for row in test.itertuples() if pd.notna(row.psnr_db))
    gains = ", ".join(
        f"{row.band} {row.gain_over_klt_db:+.2f} dB" for row in test.itertuples() if pd.notna(row.gain_over_klt_db)
    )
    against = "" if first.architecture == "klt" else f" Against the KLT with the same latent: {gains}."
    return Markdown(
        f"`{outcome.run_id}` keeps 1 value of {first.dimension_ratio:g}. "
        f"PSNR on the test scene: {values or 'undefined'}.{against}"
    )


def show(outcome: Outcome, what: str) -> Any:
    """One figure of the run by name: ``scene``, ``history``, ``latent`` or ``histogram``.

    It is kept as ``figures/<name>.png`` in the folder of the run, too. Scenes with several bands are shown by their
    first band; the table has all of them.
    """
    from sarlab.views import plots

    if what == "history":
        figure = plots.training_history(outcome.history)
    else:
        name, example = next(iter(outcome.examples.items()))
        row = outcome.rows.set_index(outcome.rows["scene"] + "/" + outcome.rows["band"]).loc[name]
        clip = (float(row["clip_low"]), float(row["clip_high"]))
        original, restored = (example[part].astype("float32") for part in ("original", "reconstruction"))
        if what == "scene":
            figure = plots.scene_triptych(original, restored, clip, title=name)
        elif what == "latent":
            figure = plots.latent_maps(example["latent"].astype("float32"))
        elif what == "histogram":
            figure = plots.db_histograms(original, restored, clip)
        else:
            raise ValueError(f"no figure '{what}'")
    if figure.panels:
        (outcome.folder / FIGURES).mkdir(exist_ok=True)
        figure.save(outcome.folder / FIGURES / f"{what}.png")
    return figure


def table(outcome: Outcome) -> Any:
    """The numbers of every scene and band, for people."""
    columns = {
        "scene": "scene",
        "band": "band",
        "split": "split",
        "bpp": "bpp",
        "measured_cr": "CR",
        "psnr_db": "PSNR (dB)",
        "rmse_db": "RMSE (dB)",
        "ssim": "SSIM",
        "epi_roa": "EPI (ROA)",
        "enl_ratio": "ENL ratio",
        "bias_db": "bias (dB)",
        "gain_over_klt_db": "over KLT (dB)",
    }
    shown = outcome.rows[[name for name in columns if name in outcome.rows]].rename(columns=columns)
    digits = {name: "{:.3f}" for name in shown.select_dtypes("number")}
    return shown.style.format(digits, na_rep="–").hide(axis="index")


def provenance(outcome: Outcome) -> Any:
    """Versions, hardware, seed and cost of the run."""
    manifest, row = outcome.manifest, outcome.rows.iloc[0]
    entries: dict[str, Any] = {
        "run": outcome.run_id,
        "scenes": f"{outcome.spec.scenes.source}: {manifest.get('data', {}).get('note', '')}",
        "device": manifest.get("device"),
        "threads": manifest.get("threads"),
        "commit": manifest.get("commit"),
        "finished": manifest.get("finished"),
        **{name: version for name, version in manifest.get("versions", {}).items()},
        "parameters": f"{row.get('parameters', float('nan')):,.0f}",
        "MACs per pixel": f"{row.get('macs_per_pixel', float('nan')):,.0f}",
        "training time (s)": f"{row.get('train_seconds', float('nan')):.1f}",
    }
    frame = pd.DataFrame({"what": list(entries), "value": [str(value) for value in entries.values()]})
    return frame.style.hide(axis="index").hide(axis="columns")
