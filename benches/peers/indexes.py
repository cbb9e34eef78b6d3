"""The rivals of search. One class an engine; all build with M 16 and efConstruction 200 where they have a graph, on inner products.

`build` reads the rows once in blocks, `save` leaves the index in a folder, `load` opens it in another process. `search` is one call of the
engine's own batch interface where it has one, so that Python's cost a call is not the engine's; it gives [queries, K] row numbers, -1 for none.
"""

import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rows import K, Rows

M, BUILD_EF, SEED = 16, 200, 100
COLUMNS = ("uncorrelated", "correlated")  # the attributes that filters read


@dataclass
class Filter:
    """A row passes if its number in `column` is below `limit`."""

    column: str
    limit: int
    mask: np.ndarray  # [rows] of bool: which pass


class Index:
    library_name = ""
    most_rows = None  # more would take too long
    has_filter = True

    def __init__(self):
        self.library = importlib.import_module(self.library_name)

    def build(self, rows: Rows, attributes: dict[str, np.ndarray], folder: Path, threads: int) -> None:
        """attributes: the columns that filters read, [rows.count] of int each, for engines that keep them; none without filters."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """What `build` has not written already."""

    def load(self, folder: Path, rows: Rows, threads: int) -> None:
        raise NotImplementedError

    def search(self, queries: np.ndarray, ef: int, threads: int, filter: Filter | None = None) -> np.ndarray:
        raise NotImplementedError


def in_rows(answers) -> np.ndarray:
    """Lists of at most K row numbers as [queries, K]."""
    return np.array([[*answer, *[-1] * (K - len(answer))] for answer in map(list, answers)])


def in_threads(search, queries: np.ndarray, threads: int) -> list:
    """`search` on one share of the queries a thread, for engines whose batches run on one."""
    with ThreadPoolExecutor(threads) as pool:
        return [answer for answers in pool.map(search, np.array_split(queries, threads)) for answer in answers]


class Hnswlib(Index):
    library_name = "hnswlib"

    def build(self, rows, attributes, folder, threads):
        self.index = self.library.Index("ip", rows.width)
        self.index.init_index(rows.count, M=M, ef_construction=BUILD_EF, random_seed=SEED)
        for first, block in rows.blocks():
            self.index.add_items(block, np.arange(first, first + len(block)), num_threads=threads)

    def save(self, folder):
        self.index.save_index(str(folder / "index"))

    def load(self, folder, rows, threads):
        self.index = self.library.Index("ip", rows.width)
        self.index.load_index(str(folder / "index"))

    def search(self, queries, ef, threads, filter=None):
        self.index.set_ef(ef)
        if filter is None:
            return self.index.knn_query(queries, K, num_threads=threads)[0].astype(np.int64)
        passes = filter.mask.tobytes().__getitem__  # the filter is called from C++ for each row met: no Python code runs in it

        def answer(query):
            try:
                return self.index.knn_query(query, min(K, filter.limit), num_threads=1, filter=passes)[0][0]
            except RuntimeError:  # it found fewer, and then gives none
                return []

        return in_rows(map(answer, queries))


class Usearch(Index):
    library_name = "usearch.index"
    has_filter = False  # in its Python interface

    def __init__(self, dtype: str):
        super().__init__()
        self.dtype = dtype

    def empty(self, width):
        metric = "ip" if self.dtype == "f32" else "cos"  # its int8 rows are no longer of unit length
        return self.library.Index(ndim=width, metric=metric, dtype=self.dtype, connectivity=M, expansion_add=BUILD_EF)

    def build(self, rows, attributes, folder, threads):
        self.index = self.empty(rows.width)
        for first, block in rows.blocks():
            self.index.add(np.arange(first, first + len(block)), block, threads=threads)

    def save(self, folder):
        self.index.save(str(folder / "index"))

    def load(self, folder, rows, threads):
        self.index = self.empty(rows.width)
        self.index.load(str(folder / "index"))

    def search(self, queries, ef, threads, filter=None):
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=threads, exact=False).keys.astype(np.int64)


class Faiss(Index):
    library_name = "faiss"
    training_rows = 100_000  # SQ8 learns each dimension's range

    def __init__(self, storage: str):
        super().__init__()
        self.storage = storage

    def build(self, rows, attributes, folder, threads):
        faiss = self.library
        faiss.omp_set_num_threads(threads)
        if self.storage == "flat":
            self.index = faiss.IndexHNSWFlat(rows.width, M, faiss.METRIC_INNER_PRODUCT)
        else:
            self.index = faiss.IndexHNSWSQ(rows.width, faiss.ScalarQuantizer.QT_8bit, M, faiss.METRIC_INNER_PRODUCT)
            sample = []
            for first, block in rows.blocks():
                if first >= self.training_rows:
                    break
                sample.append(block)
            self.index.train(np.concatenate(sample))
            del sample
        self.index.hnsw.efConstruction = BUILD_EF
        for _, block in rows.blocks():
            self.index.add(block)

    def save(self, folder):
        self.library.write_index(self.index, str(folder / "index"))

    def load(self, folder, rows, threads):
        self.library.omp_set_num_threads(threads)
        self.index = self.library.read_index(str(folder / "index"))

    def search(self, queries, ef, threads, filter=None):
        selected = self.library.IDSelectorBitmap(np.packbits(filter.mask, bitorder="little")) if filter else None
        return self.index.search(queries, K, params=self.library.SearchParametersHNSW(efSearch=ef, sel=selected))[1]


class SqliteVec(Index):
    """No graph: each search reads all rows. Python's own sqlite3 often cannot load extensions, hence apsw."""

    library_name = "sqlite_vec"
    most_rows = 100_000

    def connect(self, folder):
        import apsw

        connection = apsw.Connection(str(folder / "index.db"))
        connection.enable_load_extension(True)
        connection.load_extension(self.library.loadable_path())
        return connection

    def build(self, rows, attributes, folder, threads):
        declared = ", ".join([f"vector float[{rows.width}]", *(f"{column} integer" for column in attributes)])
        insert = f"insert into rows ({', '.join(['rowid', 'vector', *attributes])}) values (?, ?{', ?' * len(attributes)})"
        connection = self.connect(folder)
        connection.execute(f"create virtual table rows using vec0({declared})")  # l2: the order of inner products, for unit vectors
        for first, block in rows.blocks():
            with connection:
                values = ((i, row.tobytes(), *(int(column[i]) for column in attributes.values())) for i, row in enumerate(block, first))
                connection.executemany(insert, values)
        connection.close()

    def load(self, folder, rows, threads):
        self.connections = [self.connect(folder) for _ in range(threads)]

    def search(self, queries, ef, threads, filter=None):
        where = f" and {filter.column} < {filter.limit}" if filter else ""
        statement = f"select rowid from rows where vector match ? and k = {K}{where} order by distance"

        def answers(part):
            connection = self.connections.pop()
            found = [[number for (number,) in connection.execute(statement, (query.tobytes(),))] for query in part]
            self.connections.append(connection)
            return found

        return in_rows(in_threads(answers, queries, threads))


class LanceDb(Index):
    library_name = "lancedb"
    most_rows = 100_000
    batch = 100  # queries a call; each is a part of one query plan

    def __init__(self, storage: str):
        super().__init__()
        self.storage = storage

    def build(self, rows, attributes, folder, threads):
        import pyarrow as arrow
        from lancedb.index import BTree, HnswFlat, HnswSq

        vectors = arrow.list_(arrow.float32(), rows.width)
        schema = arrow.schema([("id", arrow.int64()), ("vector", vectors), *((column, arrow.int64()) for column in attributes)])

        def batches():
            for first, block in rows.blocks():
                ids = np.arange(first, first + len(block))
                values = [column[first : first + len(block)] for column in attributes.values()]
                yield arrow.record_batch([ids, arrow.FixedSizeListArray.from_arrays(block.ravel(), rows.width), *values], schema=schema)

        table = self.library.connect(folder).create_table("rows", batches(), schema=schema)
        for column in attributes:
            table.create_index(column, config=BTree())
        kind = HnswFlat if self.storage == "flat" else HnswSq
        table.create_index("vector", config=kind(distance_type="dot", num_partitions=1, m=M, ef_construction=BUILD_EF))

    def load(self, folder, rows, threads):
        self.table = self.library.connect(folder).open_table("rows")

    def search(self, queries, ef, threads, filter=None):
        found = []
        for first in range(0, len(queries), self.batch):
            part = queries[first : first + self.batch]
            search = self.table.search(part, vector_column_name="vector").distance_type("dot").ef(ef).limit(K).select(["id", "_distance"])
            if filter:
                search = search.where(f"{filter.column} < {filter.limit}", prefilter=True)
            table = search.to_arrow()
            numbers, of_query = table["id"].to_numpy(), table["query_index"].to_numpy() if len(part) > 1 else np.zeros(len(table))
            found += [numbers[of_query == i] for i in range(len(part))]
        return in_rows(found)


class QdrantEdge(Index):
    library_name = "qdrant_edge"
    most_rows = 100_000

    def config(self, width, threads):
        edge = self.library
        graph = edge.HnswIndexConfig(m=M, ef_construct=BUILD_EF, full_scan_threshold=1, max_indexing_threads=threads)
        one_segment = edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1)
        vectors = edge.EdgeVectorParams(size=width, distance=edge.Distance.Dot)
        return edge.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=one_segment, max_search_threads=threads, wal_enabled=False)

    def build(self, rows, attributes, folder, threads):
        edge = self.library
        shard = edge.EdgeShard.create(str(folder), self.config(rows.width, threads))
        for column in attributes:
            shard.update(edge.UpdateOperation.create_field_index(column, edge.PayloadSchemaType.Integer))
        for first, block in rows.blocks():
            payloads = ({name: int(column[i]) for name, column in attributes.items()} for i in range(first, first + len(block)))
            points = [edge.Point(i, row.tolist(), payload) for i, (row, payload) in enumerate(zip(block, payloads), first)]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.close()

    def load(self, folder, rows, threads):
        self.shard = self.library.EdgeShard.load(str(folder), self.config(rows.width, threads))

    def search(self, queries, ef, threads, filter=None):
        edge = self.library
        condition = filter and edge.Filter(must=[edge.FieldCondition(filter.column, range=edge.RangeFloat(lt=filter.limit))])
        params = edge.SearchParams(hnsw_ef=ef)

        def answers(part):
            requests = [edge.QueryRequest(limit=K, query=edge.Query.Nearest(q.tolist()), filter=condition, params=params) for q in part]
            return [[point.id for point in points] for points in self.shard.query_batch(edge.QueryBatchRequest(requests))]

        return in_rows(in_threads(answers, queries, threads))


INDEXES = {
    "hnswlib": Hnswlib,
    "usearch f32": lambda: Usearch("f32"),
    "usearch i8": lambda: Usearch("i8"),
    "faiss HNSW flat": lambda: Faiss("flat"),
    "faiss HNSW SQ8": lambda: Faiss("SQ8"),
    "lancedb HNSW flat": lambda: LanceDb("flat"),
    "lancedb HNSW SQ": lambda: LanceDb("SQ"),
    "sqlite-vec": SqliteVec,
    "qdrant-edge": QdrantEdge,
}
