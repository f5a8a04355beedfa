"""A farm of loopback proxies, good and bad, and a site to reach through them: see farm.py."""

from fetchpool.farm.call import Call, SeenRequest
from fetchpool.farm.farm import LISTS, Farm, host_of
from fetchpool.farm.kinds import ADVERTISEMENT, FAITHFUL, FALSE_ADDRESS, PORTAL_PAGE, Kind
from fetchpool.farm.origin import Origin
from fetchpool.farm.pages import body_of
from fetchpool.farm.proxies import FarmProxy

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
