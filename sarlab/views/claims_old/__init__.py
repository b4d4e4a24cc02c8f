"""The guide's claims, each with the predicate that judges it from the tables.

A claim is a sentence of the guide and a function of the tables; nothing about its outcome is written down anywhere.
"""

from sarlab.views.claims_old import latent, networks, rate, speckle, training  # noqa: F401  (they register their claims)
from sarlab.views.claims_old.verdict import OUTCOMES, Claim, Verdict, claims

__all__ = ["OUTCOMES", "Claim", "Verdict", "claims"]
