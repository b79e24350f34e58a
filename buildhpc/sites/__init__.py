"""The clusters of a site: what `hpcmake.toml` and `--cluster-option` say of them."""

from buildhpc.sites.layers import Sites, read_sites
from buildhpc.sites.model import Cluster, Partition

__all__ = ["Cluster", "Partition", "Sites", "read_sites"]
