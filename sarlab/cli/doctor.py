"""``sarlab doctor``: what this installation can do, and how to get what is missing."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import groupby

from sarlab._version import __version__
from sarlab.lab.machine import diagnose

EPILOG = """
examples:
  sarlab doctor            versions, GPU, codecs; what is missing and how to get it
  sarlab doctor --json     the same for a script
The exit status is 1 where something is wrong that sarlab cannot do without.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab doctor``."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """Print the findings by topic, advice below what it belongs to."""
    found = diagnose()
    if args.json:
        print(json.dumps({"sarlab": __version__, "findings": [asdict(finding) for finding in found]}, indent=2))
    else:
        print(f"sarlab {__version__}")
        for topic, findings in groupby(found, lambda finding: finding.topic):
            print(f"\n{topic}")
            for finding in findings:
                print(f"  {'·' if finding.ok else '✗'} {finding.name:18} {finding.state}")
                if finding.advice:
                    print(f"      {finding.advice}")
        wrong = [finding for finding in found if not finding.ok]
        print(f"\n{'all is well' if not wrong else ', '.join(f.name for f in wrong) + ': see above'}")
    return int(any(not finding.ok for finding in found))
