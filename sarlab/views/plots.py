"""All figures under one name: ``from sarlab.views import plots``."""

from sarlab.views.figure import Figure, Panel
from sarlab.views.scenes import db_histograms, gallery, scene_triptych
from sarlab.views.training import histories, latent_maps, training_history

__all__ = [
    "Figure",
    "Panel",
    "db_histograms",
    "gallery",
    "histories",
    "latent_maps",
    "scene_triptych",
    "training_history",
]
