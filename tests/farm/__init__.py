"""A farm of loopback proxies, good and bad, and a site to reach through them: see farm.py."""

from tests.farm.call import Call, SeenRequest
from tests.farm.farm import LISTS, Farm, host_of
from tests.farm.kinds import ADVERTISEMENT, FAITHFUL, FALSE_ADDRESS, PORTAL_PAGE, Kind
from tests.farm.origin import Origin
from tests.farm.pages import body_of
from tests.farm.proxies import FarmProxy

__all__ = [
    "ADVERTISEMENT",
    "FAITHFUL",
    "FALSE_ADDRESS",
    "LISTS",
    "PORTAL_PAGE",
    "Call",
    "Farm",
    "FarmProxy",
    "Kind",
    "Origin",
    "SeenRequest",
    "body_of",
    "host_of",
]
