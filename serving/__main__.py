"""`python -m serving`: serve the bundle that the environment names.

Exit codes: 0 stopped by a signal, 64 a setting that cannot be used, 65 a bundle that must not be served, 69 the address
is taken. Whatever is wrong is said in one line on standard error; standard output is the prediction log, nothing else.
"""

import os
import sys

from serving import settings
from serving.bundle import BundleError, load
from serving.server import PortTakenError, run
from serving.settings import SettingsError

USAGE, BAD_BUNDLE, ADDRESS_TAKEN = 64, 65, 69


def main() -> int:
    """Serve, and return the exit code."""
    try:
        chosen = settings.read(os.environ)
        run(load(chosen.path, expected=chosen.bundle_version, threads=chosen.threads), chosen)
    except SettingsError as error:
        return _refuse(error, USAGE)
    except BundleError as error:
        return _refuse(error, BAD_BUNDLE)
    except PortTakenError as error:
        return _refuse(error, ADDRESS_TAKEN)
    return 0


def _refuse(error: Exception, code: int) -> int:
    sys.stderr.write(f"flightline: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
