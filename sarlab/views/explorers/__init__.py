"""Explorers for JupyterLab: one module each, a class with its controls, and `widget` to show.

Each control calls one `update`, which computes what is shown from the controls alone, so that code drives an explorer as
a hand does: set ``explorer.controls["bits"].value = 4`` and read ``explorer.state``.
"""
