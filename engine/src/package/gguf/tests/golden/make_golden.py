"""Makes blocks.json and whole.gguf: what the `gguf` package says that bytes mean.

    pip install gguf==0.19.0 numpy llama-cpp-python==0.3.36 && python make_golden.py

blocks.json: for each format random blocks (`stored`) and their numbers (`numbers`), as hex of
little-endian bytes; for each format that is written a row of numbers (`row`) and its blocks
(`quantised`). whole.gguf: a small file by gguf.GGUFWriter with every type of metadata value and
every format of tensor; `whole` in blocks.json holds its tensors' numbers.

Quantised blocks are from ggml itself, in llama-cpp-python's libggml-base. The package's own are the
same but for one thing: it stores the scale of a Q4_0 block of negative zeros as 0, ggml as -0.
"""

import ctypes
import json
import os
from importlib.util import find_spec

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type

HERE = os.path.dirname(os.path.abspath(__file__))
READ = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
WRITTEN = {"Q8_0": "quantize_row_q8_0_ref", "Q4_0": "quantize_row_q4_0_ref", "Q6_K": "quantize_row_q6_K_ref"}
# Where f16 scales lie in a block: random bytes there would be NaN or infinite now and then.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
rng = np.random.default_rng(7)


def random_blocks(name, n):
    block_len, block_bytes = GGML_QUANT_SIZES[Type[name]]
    if name in ("F32", "F16", "BF16"):
        return gguf.quantize(rng.standard_normal((n, 64)).astype(np.float32), Type[name]).view(np.uint8)
    blocks = rng.integers(0, 256, (n, block_bytes), dtype=np.uint8)
    for at in SCALES[name]:
        scales = rng.standard_normal(n).astype(np.float16)
        scales[0] = np.float16(6e-8)  # subnormal
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(n, 2)
    return blocks


def edge_row():
    """Halves, zeros, equal extremes, one tiny and one large block."""
    blocks = [
        np.zeros(32), np.linspace(-1, 1, 32), np.linspace(-127, 127, 32) / 2,
        np.array([3.0, -3.0] * 16), np.array([-3.0, 3.0] * 16), np.full(32, -0.0),
        np.arange(32) - 15.5, np.arange(32) * 0.25 - 4, rng.standard_normal(32) * 1e-6,
        rng.standard_normal(32) * 1e3, np.eye(1, 32, 5)[0], -np.eye(1, 32, 31)[0],
        rng.standard_normal(32) * 1e-30, np.concatenate([[127.0], np.arange(31) - 15.5]), rng.standard_normal(32), rng.laplace(size=32),
    ]
    return np.concatenate(blocks).astype(np.float32)


def by_ggml(name, row):
    folder = os.path.join(os.path.dirname(find_spec("llama_cpp").origin), "lib")
    ggml = ctypes.CDLL(os.path.join(folder, "libggml-base.so"))
    block_len, block_bytes = GGML_QUANT_SIZES[Type[name]]
    blocks = np.zeros(row.size // block_len * block_bytes, dtype=np.uint8)
    getattr(ggml, WRITTEN[name])(row.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p),
                                 ctypes.c_int64(row.size))
    return blocks


def hexed(array):
    return np.ascontiguousarray(array).tobytes().hex()


def main():
    golden = {"formats": {}, "whole": {}}
    for name in READ:
        stored = random_blocks(name, 3)
        numbers = gguf.dequantize(stored, Type[name])
        assert np.isfinite(numbers).all(), name
        golden["formats"][name] = {"stored": hexed(stored), "numbers": hexed(numbers.astype(np.float32))}
    row = edge_row()
    golden["row"] = hexed(row)
    golden["quantised"] = {name: hexed(gguf.quantize(row, Type[name])) for name in ("F32", "F16", "BF16")}
    for name in WRITTEN:
        blocks = by_ggml(name, row)
        golden["quantised"][name] = hexed(blocks)
        if name != "Q6_K":
            with np.errstate(all="ignore"):
                own = gguf.quantize(row.reshape(1, -1), Type[name]).ravel()
            print(name, "bytes that the package has otherwise:", np.flatnonzero(own != blocks))

    writer = gguf.GGUFWriter(os.path.join(HERE, "whole.gguf"), "gemma-embedding")
    writer.add_custom_alignment(64)
    writer.add_uint8("t.u8", 255)
    writer.add_int8("t.i8", -128)
    writer.add_uint16("t.u16", 65535)
    writer.add_int16("t.i16", -32768)
    writer.add_uint32("t.u32", 4294967295)
    writer.add_int32("t.i32", -2147483648)
    writer.add_uint64("t.u64", 18446744073709551615)
    writer.add_int64("t.i64", -9223372036854775808)
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.bool", True)
    writer.add_string("t.str", "gr\u00fc\u00df \U0001f331")
    writer.add_array("t.strs", ["", "a", "\u2581b"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -1.5])
    writer.add_array("t.bools", [True, False])
    for i, name in enumerate(READ):
        block_len, block_bytes = GGML_QUANT_SIZES[Type[name]]
        if name == "F32":  # three dimensions
            numbers = rng.standard_normal((2, 3, 5)).astype(np.float32)
            writer.add_tensor(f"tensor.{i}", numbers)
        else:
            row_len = 256 if block_len > 1 else 7
            numbers = None
            n_rows = 2
            n_blocks = n_rows * row_len // block_len
            if block_len > 1:
                stored = random_blocks(name, n_blocks).reshape(n_rows, -1)
            else:
                stored = gguf.quantize(rng.standard_normal((n_rows, row_len)).astype(np.float32), Type[name])
            numbers = gguf.dequantize(stored, Type[name])
            writer.add_tensor(f"tensor.{i}", stored, raw_dtype=Type[name])
        golden["whole"][f"tensor.{i}"] = {"shape": list(numbers.shape), "dtype": name,
                                          "numbers": hexed(numbers.astype(np.float32))}
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open(os.path.join(HERE, "blocks.json"), "w") as file:
        json.dump(golden, file, indent=1)


main()
