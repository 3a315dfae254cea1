"""FAISS: flat, HNSW, IVF and multi-hash over packed bits."""

import faiss
import numpy as np
from harness import attempt, main


def faiss_flat(codes, queries, bits, k):
    # given
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)
    distances, ids = index.search(queries, k)
    # end
    return ids, distances


def faiss_hnsw(codes, queries, bits, k):
    # given
    index = faiss.IndexBinaryHNSW(8 * codes.shape[1], 16)
    index.hnsw.efSearch = 128
    index.add(codes)
    distances, ids = index.search(queries, k)
    # end
    return ids, distances


def faiss_ivf(codes, queries, bits, k):
    # given
    index = faiss.index_binary_factory(8 * codes.shape[1], "BIVF64")
    index.train(codes)
    index.add(codes)
    index.nprobe = 8
    distances, ids = index.search(queries, k)
    # end
    return ids, distances


def faiss_multihash(codes, queries, bits, k):
    # given
    index = faiss.IndexBinaryMultiHash(8 * codes.shape[1], 4, 2 * codes.shape[1])
    index.nflip = 1
    index.add(codes)
    distances, ids = index.search(queries, k)
    # end
    return ids, distances


def traps(sets):
    codes, _, _ = sets["uniform64"]
    codes = np.ascontiguousarray(codes)
    flat = faiss.IndexBinaryFlat(64)
    flat.add(codes)
    limits, _, _ = flat.range_search(codes[:1], 0)
    found = {
        "range_search(code, 0) finds itself": bool(limits[1]),
        "range_search(code, 1) finds itself": bool(flat.range_search(codes[:1], 1)[0][1]),
        "K = 20": attempt(faiss.IndexBinaryFlat, 20),
        "k above n, last id": int(flat.search(codes[:1], len(codes) + 1)[1][0, -1]),
        "k above n, last distance": int(flat.search(codes[:1], len(codes) + 1)[0][0, -1]),
    }
    floats = np.where(np.unpackbits(codes[:1], axis=1), 1.0, -1.0).astype(np.float32)
    packed = np.zeros((1, 8), dtype=np.uint8)
    faiss.real_to_binary(64, faiss.swig_ptr(floats), faiss.swig_ptr(packed))
    found["real_to_binary is packbits"] = bool((packed == codes[:1]).all())
    little = np.packbits(floats > 0, axis=1, bitorder="little")
    found["real_to_binary is packbits little"] = bool((packed == little).all())
    trained, _, _ = sets["trained64"]
    ivf = faiss.index_binary_factory(64, "BIVF64")
    ivf.train(np.ascontiguousarray(trained))
    ivf.add(np.ascontiguousarray(trained))
    sizes = [ivf.invlists.list_size(number) for number in range(64)]
    found["IVF: empty lists of 64"] = sizes.count(0)
    found["IVF: largest list"] = max(sizes)
    return found


if __name__ == "__main__":
    rows = {f.__name__: f for f in (faiss_flat, faiss_hnsw, faiss_ivf, faiss_multihash)}
    main(rows, traps, ["faiss-cpu"])
