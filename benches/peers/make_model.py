"""Writes a sentence-transformers folder of EmbeddingGemma's shape with seeded random weights.

Speed and numerical error of an engine depend on shapes and on the spread of values, not on what was learned, so such a folder
stands in for the real model in timings and parity tests. It knows nothing about language: never use it to judge retrieval.

    python make_model.py OUT --tokenizer tokenizer.json[.gz] [--shape 300m|tiny] [--outliers none|norm|activation] [--seed 0]

The same arguments give the same bytes (numpy's PCG64). The two kinds of outlier models have the weights of `none` but for this:
  norm         the gain of 5 channels of each input and pre-feedforward norm is multiplied by 30
  activation   the same, and the columns that read those channels are divided by 30: the function stays, the activations are hard to quantise
"""

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    head_dim: int
    dense: int
    window: int  # as config.json has it: a token of a sliding layer sees window / 2 to each side
    max_tokens: int
    widths: tuple[int, ...]


SHAPES = {
    "300m": Shape(768, 1152, 24, 3, 256, 3072, 512, 2048, (768, 512, 256, 128)),
    "tiny": Shape(96, 160, 6, 3, 32, 384, 32, 2048, (96, 64, 32)),
}
FULL_EVERY = 6  # each sixth layer attends to the whole text
OUTLIER_CHANNELS, OUTLIER_GAIN = 5, np.float32(30)

QUERY, DOCUMENT = "task: search result | query: ", "title: none | text: "
CLASSIFICATION, SIMILARITY = "task: classification | query: ", "task: sentence similarity | query: "
PROMPTS = {
    "query": QUERY,
    "document": DOCUMENT,
    "BitextMining": QUERY,
    "Clustering": "task: clustering | query: ",
    "Classification": CLASSIFICATION,
    "InstructionRetrieval": "task: code retrieval | query: ",
    "MultilabelClassification": CLASSIFICATION,
    "PairClassification": SIMILARITY,
    "Reranking": QUERY,
    "Retrieval": QUERY,
    "Retrieval-query": QUERY,
    "Retrieval-document": DOCUMENT,
    "STS": SIMILARITY,
    "Summarization": "task: summarization | query: ",
}


def weights(shape: Shape, vocabulary: int, seed: int) -> tuple[dict, dict, dict]:
    """The tensors of the backbone and of the two dense layers."""
    random = np.random.default_rng(seed)

    def normal(std, *size):
        return random.standard_normal(size, dtype=np.float32) * np.float32(std)

    def linear(outputs, inputs):
        return normal(inputs**-0.5, outputs, inputs)

    def norm(width):  # stored as w, applied as 1 + w
        return normal(0.1, width)

    backbone = {"embed_tokens.weight": normal(0.04, vocabulary, shape.hidden)}
    for layer in range(shape.layers):
        inner = shape.heads * shape.head_dim
        tensors = {
            "input_layernorm": norm(shape.hidden),
            "self_attn.q_proj": linear(inner, shape.hidden),
            "self_attn.k_proj": linear(shape.head_dim, shape.hidden),
            "self_attn.v_proj": linear(shape.head_dim, shape.hidden),
            "self_attn.o_proj": linear(shape.hidden, inner),
            "self_attn.q_norm": norm(shape.head_dim),
            "self_attn.k_norm": norm(shape.head_dim),
            "post_attention_layernorm": norm(shape.hidden),
            "pre_feedforward_layernorm": norm(shape.hidden),
            "mlp.gate_proj": linear(shape.intermediate, shape.hidden),
            "mlp.up_proj": linear(shape.intermediate, shape.hidden),
            "mlp.down_proj": linear(shape.hidden, shape.intermediate),
            "post_feedforward_layernorm": norm(shape.hidden),
        }
        backbone |= {f"layers.{layer}.{name}.weight": tensor for name, tensor in tensors.items()}
    backbone["norm.weight"] = norm(shape.hidden)
    dense_2 = {"linear.weight": linear(shape.dense, shape.hidden)}
    dense_3 = {"linear.weight": linear(shape.hidden, shape.dense)}
    return backbone, dense_2, dense_3


def add_outliers(backbone: dict, shape: Shape, seed: int, compensate: bool) -> None:
    channels = np.random.default_rng([seed, 1]).choice(shape.hidden, OUTLIER_CHANNELS, replace=False)
    readers = {"input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "pre_feedforward_layernorm": ("mlp.gate_proj", "mlp.up_proj")}
    for layer in range(shape.layers):
        for norm, linears in readers.items():
            w = backbone[f"layers.{layer}.{norm}.weight"]
            w[channels] = OUTLIER_GAIN * (1 + w[channels]) - 1
            for linear in linears if compensate else ():
                backbone[f"layers.{layer}.{linear}.weight"][:, channels] /= OUTLIER_GAIN


def config(shape: Shape, vocabulary: int) -> dict:
    return {
        "architectures": ["Gemma3TextModel"],
        "model_type": "gemma3_text",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "dtype": "float32",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": 1,
        "head_dim": shape.head_dim,
        "query_pre_attn_scalar": shape.head_dim,
        "layer_types": ["sliding_attention" if (i + 1) % FULL_EVERY else "full_attention" for i in range(shape.layers)],
        "_sliding_window_pattern": FULL_EVERY,
        "sliding_window": shape.window,
        "use_bidirectional_attention": True,
        "max_position_embeddings": shape.max_tokens,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "vocab_size": vocabulary,
    }


def write(out: Path, shape: Shape, tokenizer: bytes, outliers: str, seed: int) -> None:
    vocabulary = len(json.loads(tokenizer)["model"]["vocab"])
    backbone, dense_2, dense_3 = weights(shape, vocabulary, seed)
    if outliers != "none":
        add_outliers(backbone, shape, seed, compensate=outliers == "activation")

    def dense(inputs, outputs):
        return {"in_features": inputs, "out_features": outputs, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"}

    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Dense", "Dense"), ("4_Normalize", "Normalize"))
    files = {
        "config.json": config(shape, vocabulary),
        "modules.json": [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(kinds)],
        "1_Pooling/config.json": {"word_embedding_dimension": shape.hidden} | {f"pooling_mode_{m}": m == "mean_tokens" for m in modes} | {"include_prompt": True},
        "2_Dense/config.json": dense(shape.hidden, shape.dense),
        "3_Dense/config.json": dense(shape.dense, shape.hidden),
        "sentence_bert_config.json": {"max_seq_length": shape.max_tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "cosine", "matryoshka_dims": shape.widths},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
            "model_max_length": shape.max_tokens,
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
        },
    }
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")
    (out / "tokenizer.json").write_bytes(tokenizer)
    for name, tensors in (("model.safetensors", backbone), ("2_Dense/model.safetensors", dense_2), ("3_Dense/model.safetensors", dense_3)):
        save_file(tensors, out / name, metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json, plain or .gz; its vocabulary sets the number of embedding rows")
    parser.add_argument("--shape", choices=SHAPES, default="300m")
    parser.add_argument("--outliers", choices=("none", "norm", "activation"), default="none")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tokenizer = args.tokenizer.read_bytes()
    if args.tokenizer.suffix == ".gz":
        tokenizer = gzip.decompress(tokenizer)
    write(args.out, SHAPES[args.shape], tokenizer, args.outliers, args.seed)


if __name__ == "__main__":
    main()
