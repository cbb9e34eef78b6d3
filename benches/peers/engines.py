"""The rivals. Each loader returns an `Engine`, whose `encode` turns a batch of token ids into unit vectors [batch, width].

All do the same work on the same ids: backbone, mean pooling, both dense layers, L2; no tokenizer. None is handed padding it does not need:
the caller batches by length, and llama.cpp gets one sequence at a time, which suits it best on few threads.
"""

import ctypes
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

THREADS = 2
PAD = 0
CALIBRATION_TEXTS = 24


class Skipped(Exception):
    """An engine that cannot run here, and why."""


@dataclass
class Engine:
    encode: Callable[[list[list[int]]], np.ndarray]
    instructions: Callable[[], str]  # what the engine itself says about the instruction sets that it used
    about: str


def padded(batch: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The ids and the attention mask, [batch, longest], padded on the right."""
    ids = np.full((len(batch), max(map(len, batch))), PAD, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(batch):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask


# sentence-transformers


def sentence_transformers(precision: str, model: Path, **_) -> Engine:
    import torch

    import reference

    torch.set_num_threads(THREADS)
    network = reference.load(model)
    if precision == "bf16":
        network = network.bfloat16()

    def encode(batch):
        ids, mask = map(torch.from_numpy, padded(batch))
        with torch.inference_mode():
            return network({"input_ids": ids, "attention_mask": mask})["sentence_embedding"].float().numpy()

    return Engine(encode, torch.backends.cpu.get_cpu_capability, f"PyTorch {torch.__version__}, sdpa")


# The exported graph: ONNX Runtime and OpenVINO


def prepared(kind: str, model: Path, work: Path) -> Path:
    """The folder of an exported graph. A process of its own writes it, so that its memory is not counted as the engine's."""
    folder = work / kind
    if not folder.exists():
        ran = subprocess.run([sys.executable, __file__, kind, str(model), str(work)], capture_output=True, text=True)
        if ran.returncode:
            raise Skipped(f"export as {kind}: {(ran.stderr.strip().splitlines() or ['no message'])[-1]}")
    return folder


def exported_program(model: Path):
    """The whole model as a PyTorch graph with dynamic batch and length.

    The masks are made here, out of plain tensor operations, because the ones of transformers depend on Python values.
    """
    import torch

    import reference

    class Embedder(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.backbone, self.dense = network[0].auto_model, torch.nn.Sequential(network[2].linear, network[3].linear)
            self.window = self.backbone.config.sliding_window  # exclusive: halved, plus one, by the configuration class

        def forward(self, input_ids, attention_mask):
            place = torch.arange(input_ids.shape[1])
            distance = (place[:, None] - place[None, :]).abs()
            full = attention_mask.bool()[:, None, None, :] | (distance == 0)  # padding sees itself: no row of -inf, no NaN
            masks = {"full_attention": full, "sliding_attention": full & (distance < self.window)}
            hidden = self.backbone(input_ids=input_ids, attention_mask=masks, use_cache=False).last_hidden_state
            weight = attention_mask[:, :, None].to(hidden.dtype)
            return torch.nn.functional.normalize(self.dense((hidden * weight).sum(1) / weight.sum(1)), dim=-1)

    example = tuple(map(torch.from_numpy, padded([[2, *range(10, 24), 1], [2, 10, 1]])))
    shape = {0: torch.export.Dim("batch", max=1024), 1: torch.export.Dim("tokens", min=2, max=2048)}
    with torch.no_grad():
        return torch.export.export(Embedder(reference.load(model)).eval(), example, dynamic_shapes=(shape, shape))


def export_onnx(model: Path, work: Path, folder: Path) -> None:
    import torch

    names = {"input_names": ["input_ids", "attention_mask"], "output_names": ["sentence_embedding"]}
    torch.onnx.export(exported_program(model), (), folder / "model.onnx", external_data=True, **names)


def export_openvino(model: Path, work: Path, folder: Path) -> None:
    import openvino as ov

    ov.save_model(ov.convert_model(exported_program(model)), folder / "model.xml", compress_to_fp16=False)


def export_openvino_int8(model: Path, work: Path, folder: Path) -> None:
    """int8 weights and activations by post-training quantisation, calibrated on random ids as the timed ones are."""
    import nncf
    import openvino as ov

    import reference

    network = ov.Core().read_model(prepared("openvino", model, work) / "model.xml")
    vocabulary, random = reference.vocabulary(model), np.random.default_rng(1)
    samples = [list(padded([reference.random_ids(random, int(n), vocabulary)])) for n in random.integers(16, 257, CALIBRATION_TEXTS)]
    network = nncf.quantize(network, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    ov.save_model(network, folder / "model.xml", compress_to_fp16=False)


EXPORTS = {"onnx": export_onnx, "openvino": export_openvino, "openvino-int8": export_openvino_int8}


def onnxruntime(model: Path, work: Path, **_) -> Engine:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = ort.InferenceSession(prepared("onnx", model, work) / "model.onnx", options, providers=["CPUExecutionProvider"])

    def encode(batch):
        ids, mask = padded(batch)
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return Engine(encode, lambda: "not told", f"ONNX Runtime {ort.__version__}, all graph optimisations")


def openvino(precision: str, model: Path, work: Path, **_) -> Engine:
    import openvino as ov

    about = f"OpenVINO {ov.__version__.split('-')[0]}"
    if precision == "int8":
        import nncf

        about += f", weights and activations in int8 by NNCF {nncf.__version__} (calibrated on {CALIBRATION_TEXTS} texts), the rest in bf16"
    graph = prepared("openvino-int8" if precision == "int8" else "openvino", model, work) / "model.xml"
    hints = {
        "INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16",
        "INFERENCE_NUM_THREADS": THREADS,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = ov.Core().compile_model(graph, "CPU", hints)
    request = compiled.create_infer_request()

    def instructions():
        nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        kinds = Counter(f"{node['layerType'].value} {node['primitiveType'].value}" for node in nodes)
        return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()) if kind.startswith(("FullyConnected", "MatMul", "ScaledDot")))

    def encode(batch):
        return request.infer(list(padded(batch)))[0].copy()

    return Engine(encode, instructions, about)


# llama.cpp


def llama_cpp(precision: str, model: Path, gguf_dir: Path | None, **_) -> Engine:
    import llama_cpp as llama

    if gguf_dir is None:
        raise Skipped("no --gguf-dir")
    files = [path for path in sorted(gguf_dir.glob("*.gguf")) if precision in path.name.lower()]
    if not files:
        raise Skipped(f"no file with {precision} in its name, ending in .gguf, in {gguf_dir}")
    llama.llama_log_set(silent := llama.llama_log_callback(lambda *_: None), None)
    llama.llama_backend_init()
    network = llama.llama_model_load_from_file(str(files[0]).encode(), llama.llama_model_default_params())
    if not network:
        raise Skipped(f"llama.cpp cannot load {files[0].name}")
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 2048
    params.n_threads = params.n_threads_batch = THREADS
    params.embeddings, params.pooling_type = True, llama.LLAMA_POOLING_TYPE_MEAN
    context = llama.llama_init_from_model(network, params)
    width = llama.llama_model_n_embd(network)

    def one(ids):
        batch = llama.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = 1  # pooling needs all of them
        status = llama.llama_decode(context, batch)
        llama.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode of {len(ids)} tokens: status {status}")
        return np.ctypeslib.as_array(llama.llama_get_embeddings_seq(context, 0), (width,)).copy()

    def encode(batch, keep_alive=silent):
        vectors = np.stack([one(ids) for ids in batch])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def instructions():
        return ctypes.string_at(llama.llama_print_system_info()).decode().strip()

    return Engine(encode, instructions, f"llama-cpp-python {llama.__version__}, {files[0].name}, one sequence a call")


LOADERS: dict[str, Callable[..., Engine]] = {
    "sentence-transformers f32": lambda **options: sentence_transformers("f32", **options),
    "sentence-transformers bf16": lambda **options: sentence_transformers("bf16", **options),
    "ONNX Runtime f32": onnxruntime,
    "OpenVINO f32": lambda **options: openvino("f32", **options),
    "OpenVINO bf16": lambda **options: openvino("bf16", **options),
    "OpenVINO int8": lambda **options: openvino("int8", **options),
    "llama.cpp f32": lambda **options: llama_cpp("f32", **options),
    "llama.cpp Q8_0": lambda **options: llama_cpp("q8_0", **options),
    "llama.cpp Q4_0": lambda **options: llama_cpp("q4_0", **options),
}


def main() -> None:
    """Writes one exported graph: into a folder that gets its name when it is whole."""
    kind, model, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    unfinished = work / f"{kind}.part"
    unfinished.mkdir(parents=True, exist_ok=True)
    EXPORTS[kind](model, work, unfinished)
    unfinished.rename(work / kind)


if __name__ == "__main__":
    main()
