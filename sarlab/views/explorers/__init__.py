"""Explorers for JupyterLab: classes with `controls` and a `widget` to show, and everything they show as `state`.

Code drives an explorer as a hand does: set ``explorer.controls["bits"].value = 4`` and read ``explorer.state``.
"""
