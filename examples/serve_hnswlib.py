"""Serves recommendations from an approximate-nearest-neighbour index, without rlmrec_fast.

rlmrec-fast export runs/mine exported && python examples/serve_hnswlib.py exported USER
"""

import json
import sys
from pathlib import Path

import hnswlib
from safetensors.numpy import load_file

folder, user = Path(sys.argv[1]), sys.argv[2]
tables = load_file(folder / "embeddings.safetensors")
users, items = (json.loads((folder / f"{side}.json").read_text()) for side in ("users", "items"))

index = hnswlib.Index("ip", tables["item_embedding"].shape[1])
index.init_index(len(items), ef_construction=200, M=32)
index.add_items(tables["item_embedding"])
index.set_ef(200)

row = [entry["id"] for entry in users].index(user)
first, last = tables["seen_offsets"][row : row + 2]
seen = set(tables["seen_items"][first:last].tolist())
query = tables["user_embedding"][row]
found, distances = index.knn_query(query, k=10, num_threads=1, filter=lambda n: n not in seen)
for number, distance in zip(found[0].tolist(), distances[0].tolist(), strict=True):
    print(f"{1 - distance:.4f}", items[number]["id"], items[number]["title"] or "", sep="\t")
