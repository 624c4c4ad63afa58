"""A trained run at work: recommendations in bulk, similar items, new items, export."""

from rlmrec_fast.serving.bulk import Exclusions, rank_blocks
from rlmrec_fast.serving.catalog import Catalog, Ids
from rlmrec_fast.serving.cold import place
from rlmrec_fast.serving.export import export_tables
from rlmrec_fast.serving.similarity import similar

__all__ = ["Catalog", "Exclusions", "Ids", "export_tables", "place", "rank_blocks", "similar"]
