"""Makes the tiny random models and their reference values.

Two models of EmbeddingGemma's architecture, far too small to mean anything, in the layout of
sentence-transformers, and what transformers and sentence-transformers compute with them:

    tiny/mqa/  tiny/mqa.safetensors     4 query heads, 1 key-value head, 6 layers, bf16 weights
    tiny/gqa/  tiny/gqa.safetensors     4 query heads, 2 key-value heads, 3 layers, f32 weights
    tiny/texts.json                     the texts of the `text.*` values

Each value comes from a model that transformers has loaded back from the folder: what a reader of
the folder must reproduce. The script ends by checking itself: eager against sdpa, one by one
against a padded batch, and that each known mistake (a window off by one, full layers shifted by
one, norms without the 1, ...) changes the values. README.md describes the names of the values.

    python tests/reference/make_tiny.py
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

HERE = Path(__file__).parent / "tiny"
FULL, SLIDING = "full_attention", "sliding_attention"
SPACE = "\u2581"  # SentencePiece's visible space

MQA = {
    "architectures": ["Gemma3TextModel"],
    "model_type": "gemma3_text",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "dtype": "bfloat16",
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 32,
    "intermediate_size": 48,
    # The third and the last layer are full: shifting them by one gives other vectors.
    "layer_types": [SLIDING, SLIDING, FULL, SLIDING, SLIDING, FULL],
    "max_position_embeddings": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 6,
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": 16,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    # A token sees 8 to each side.
    "sliding_window": 16,
    "_sliding_window_pattern": 3,
    "use_bidirectional_attention": True,
    "vocab_size": 96,
}

# Written as newer exports are: nested rotary parameters, the layers only as a list.
GQA = {
    "architectures": ["Gemma3TextModel"],
    "model_type": "gemma3_text",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "dtype": "float32",
    "head_dim": 8,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 48,
    "intermediate_size": 40,
    "layer_types": [SLIDING, FULL, SLIDING],
    "max_position_embeddings": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    # Not head_dim: scores are multiplied by 24 ^ -0.5.
    "query_pre_attn_scalar": 24,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {
        FULL: {"rope_theta": 1000000.0, "rope_type": "default"},
        SLIDING: {"rope_theta": 10000.0, "rope_type": "default"},
    },
    "sliding_window": 16,
    "use_bidirectional_attention": True,
    # More rows than the tokenizer has pieces.
    "vocab_size": 112,
}

# name: config, widths of the dense head (between, full), widths to cut to, seed
MODELS = {"mqa": (MQA, (64, 24), [24, 16, 8], 2509), "gqa": (GQA, (32, 16), [16, 8], 2310)}

PROMPTS = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "STS": "task: sentence similarity | query: ",
}

MERGES = (
    "i n|t h|th e|a n|e r|r e|o n|e s|_ t|_ a|_ s|_ q|o r|s e|_ the|in g|an d|t i|a r|e n|q u|qu e"
    "|que r|quer y|e x|t e|te x|tex t|ti t|tit l|titl e|t a|ta s|tas k|s t|_ w|_ o|_o f|o u|_ b"
)

LONG = "the heron stands in the shallow water and waits, and the river goes on past it. "
TEXTS = [
    {"text": "the river", "prompt": None},
    {"text": "where does the heron wait?", "prompt": "query"},
    {"text": "the heron waits in the shallow water.", "prompt": "document"},
    {"text": "", "prompt": "STS"},
    {"text": "", "prompt": None},
    {"text": "  two  spaces,\tone tab and UPPER CASE \n", "prompt": None},
    {"text": "a literal <bos> and <eos> in a text", "prompt": "document"},
    {"text": LONG * 20, "prompt": "document"},  # beyond the window: cut, <eos> kept
]


def tokenizer_json(vocab_size):
    """A BPE of 92 pieces in the form of Gemma's: no prefix space, BPE over whole texts."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    merges = [m.replace("_", SPACE).split(" ") for m in MERGES.split("|")]
    pieces = special + list(SPACE + "abcdefghijklmnopqrstuvwxyz0123456789.,:|?!-'\t\n")
    pieces += ["".join(m) for m in merges]
    assert len(set(pieces)) == len(pieces) <= vocab_size, (len(pieces), len(set(pieces)))
    bos, eos = ({"SpecialToken": {"id": t, "type_id": 0}} for t in ("<bos>", "<eos>"))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for i, t in enumerate(special)
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                          "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}, eos],
            "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, eos,
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                t: {"id": t, "ids": [special.index(t)], "tokens": [t]} for t in ("<bos>", "<eos>")
            },
        },
        "decoder": {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                  "byte_fallback": False, "ignore_merges": False,
                  "vocab": {p: i for i, p in enumerate(pieces)}, "merges": merges},
    }


def weights(config, rng):
    """Random weights of a size at which each part of the model works.

    Matrices scale up what they are given (GELU leaves its linear part), the query and key norms
    sharpen the scores (attention is far from uniform), norm weights are far from zero.
    """
    hidden, between = config["hidden_size"], config["intermediate_size"]
    head_dim = config["head_dim"]
    q, kv = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim

    def matrix(n_out, n_in, gain=1.5):
        return rng.normal(0, gain / n_in**0.5, (n_out, n_in))

    def norm(n, mean=0.0):
        return rng.normal(mean, 0.3, n)

    tensors = {"embed_tokens.weight": rng.normal(0, 0.2, (config["vocab_size"], hidden))}
    for i in range(config["num_hidden_layers"]):
        layer = {
            "input_layernorm": norm(hidden),
            "self_attn.q_proj": matrix(q, hidden),
            "self_attn.k_proj": matrix(kv, hidden),
            "self_attn.v_proj": matrix(kv, hidden),
            "self_attn.q_norm": norm(head_dim, 0.5),
            "self_attn.k_norm": norm(head_dim, 0.5),
            "self_attn.o_proj": matrix(hidden, q),
            "post_attention_layernorm": norm(hidden, -0.2),
            "pre_feedforward_layernorm": norm(hidden),
            "mlp.gate_proj": matrix(between, hidden),
            "mlp.up_proj": matrix(between, hidden),
            "mlp.down_proj": matrix(hidden, between),
            "post_feedforward_layernorm": norm(hidden, -0.2),
        }
        tensors |= {f"layers.{i}.{name}.weight": values for name, values in layer.items()}
    tensors["norm.weight"] = norm(hidden)
    return tensors


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_model(folder, config, dense, widths, seed):
    rng = np.random.default_rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    dtype = getattr(torch, config["dtype"])

    def write_tensors(path, tensors):
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: torch.from_numpy(values).to(dtype) for name, values in tensors.items()}
        save_file(tensors, path, metadata={"format": "pt"})

    write_json(folder / "config.json", config)
    write_tensors(folder / "model.safetensors", weights(config, rng))
    write_json(folder / "tokenizer.json", tokenizer_json(config["vocab_size"]))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>",
        "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>",
        "model_max_length": config["max_position_embeddings"], "padding_side": "right",
        "clean_up_tokenization_spaces": False})
    write_json(folder / "sentence_bert_config.json",
               {"max_seq_length": config["max_position_embeddings"], "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {
        "prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "cosine",
        "matryoshka_dims": widths})
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"),
             ("3_Dense", "Dense"), ("4_Normalize", "Normalize")]
    write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)])
    modes = ["cls_token", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    write_json(folder / "1_Pooling/config.json", {
        "word_embedding_dimension": config["hidden_size"], "pooling_mode_mean_tokens": True,
        **{f"pooling_mode_{mode}": False for mode in modes}, "include_prompt": True})
    sizes = [config["hidden_size"], *dense]
    for i, path in enumerate(["2_Dense", "3_Dense"]):
        n_in, n_out = sizes[i], sizes[i + 1]
        write_json(folder / path / "config.json", {
            "in_features": n_in, "out_features": n_out, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity"})
        write_tensors(folder / path / "model.safetensors",
                      {"linear.weight": rng.normal(0, 1 / n_in**0.5, (n_out, n_in))})


def load(folder, attention="eager", dtype=torch.float32):
    arguments = {"attn_implementation": attention, "dtype": dtype}
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs=arguments).eval()
    return model.to(dtype)


def run(model, rows):
    """The states of a padded batch and its vectors, padding cut off; one dictionary a row."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    body = model[0].auto_model
    seen = {}

    def keep(name):
        def hook(module, inputs, output):
            seen[name] = output[0] if isinstance(output, tuple) else output
        return hook

    hooks = [body.embed_tokens.register_forward_hook(keep("embedding"))]
    for i, layer in enumerate(body.layers):
        hooks.append(layer.register_forward_hook(keep(f"layer.{i}")))
    hooks.append(body.norm.register_forward_hook(keep("norm")))
    with torch.no_grad():
        vectors = model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    for hook in hooks:
        hook.remove()
    return [
        {name: states[i, : len(row)] for name, states in seen.items()} | {"vector": vectors[i]}
        for i, row in enumerate(rows)
    ]


def inputs(config, seed):
    """Token ids by name: sequences of one length each, and the rows of a mixed batch."""
    rng = np.random.default_rng(seed + 1)

    def sequence(n):
        if n < 3:
            return [2, 1][:n]
        return [2, *rng.integers(5, config["vocab_size"], n - 2).tolist(), 1]

    named = {f"n{n}": sequence(n) for n in (1, 2, 8, 9, 10, 300)}
    return named | {f"batch.{i}": sequence(n) for i, n in enumerate((5, 1, 23, 64, 12, 23))}


def values(folder, config, seed):
    model = load(folder)
    assert model[0].auto_model.config._attn_implementation == "eager"
    assert model[0].auto_model.config.sliding_window == config["sliding_window"] // 2 + 1
    tensors = {}
    for name, ids in inputs(config, seed).items():
        tensors[f"{name}.ids"] = np.array(ids, dtype=np.uint32)
        for part, states in run(model, [ids])[0].items():
            tensors[f"{name}.{part}"] = states.numpy()
    for i, entry in enumerate(TEXTS):
        prompt = PROMPTS[entry["prompt"]] if entry["prompt"] else ""
        vector = model.encode([entry["text"]], prompt=prompt or None, convert_to_numpy=True)[0]
        ids = model.tokenizer([prompt + entry["text"]], truncation=True)["input_ids"][0]
        assert np.allclose(run(model, [ids])[0]["vector"].numpy(), vector, atol=1e-6)
        tensors[f"text.{i}.ids"] = np.array(ids, dtype=np.uint32)
        tensors[f"text.{i}.vector"] = vector
    assert all(np.isfinite(t).all() for t in tensors.values())
    return tensors


def worst(found, expected):
    """The largest difference over all states and vectors."""
    return max(float((found[part] - expected[part]).abs().max()) for part in expected)


def check(folder, config, seed):
    """Prints how far apart right answers are, and how far wrong ones."""
    rows = list(inputs(config, seed).values())
    eager, sdpa = load(folder), load(folder, "sdpa")
    expected = [run(eager, [row])[0] for row in rows]
    gap = max(worst(run(sdpa, [row])[0], e) for row, e in zip(rows, expected))
    vectors = max(worst(run(sdpa, [row])[0], {"vector": e["vector"]})
                  for row, e in zip(rows, expected))
    print(f"  eager to sdpa: states {gap:.1e}, vectors {vectors:.1e}")
    # States have a root mean square of up to about 4: these are a few units in the last place.
    assert vectors < 1e-6 and gap < 1e-4, (vectors, gap)
    exact = load(folder, dtype=torch.float64)
    gap = max(worst(run(exact, [row])[0], e) for row, e in zip(rows, expected))
    print(f"  eager f32 to f64: {gap:.1e}")
    for name, model in (("eager", eager), ("sdpa", sdpa)):
        found = run(model, rows[-6:])
        finite = [i for i, row in enumerate(found) if torch.isfinite(row["vector"]).all()]
        gap = max(worst(found[i], expected[-6:][i]) for i in finite)
        print(f"  one by one to a padded batch, {name}: {gap:.1e} over {len(finite)} of 6 rows")
        assert gap < 1e-4, gap
    check_mistakes(folder, config, rows, expected)
    print("  states, root mean square by layer, n300:", [
        round(float(states.pow(2).mean().sqrt()), 2) for name, states in expected[5].items()])
    describe(eager, rows[5])


def check_mistakes(folder, config, rows, expected):
    """Each mistake that engines have made must show in the vectors."""
    window, kinds = config["sliding_window"], config["layer_types"]
    theta = {"rope_type": "default", "rope_theta": 1e6}
    mistakes = {
        "window 1 too small": {"sliding_window": window - 2},
        "window 1 too large": {"sliding_window": window + 2},
        "window not halved": {"sliding_window": window * 2},
        "no window": {"layer_types": [FULL] * len(kinds)},
        "full layers shifted": {"layer_types": kinds[1:] + kinds[:1]},
        "one rotary base": {"rope_parameters": {FULL: theta, SLIDING: theta}},
        "causal": {"use_bidirectional_attention": False, "sliding_window": window // 2 + 1},
        "another score scale": {"query_pre_attn_scalar": config["hidden_size"]},
        "erf GELU": {"hidden_activation": "gelu"},
        "norms without the 1": {},
    }
    for name, change in mistakes.items():
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            write_json(Path(copy) / "config.json", config | change)
            if name == "norms without the 1":
                tensors = load_file(folder / "model.safetensors")
                tensors = {n: t - 1 if t.ndim == 1 else t for n, t in tensors.items()}
                save_file(tensors, Path(copy) / "model.safetensors", metadata={"format": "pt"})
            wrong = load(copy)
            gaps = [float((run(wrong, [row])[0]["vector"] - e["vector"]).abs().max())
                    for row, e in zip(rows, expected)]
        shown = {len(row): f"{gap:.0e}" for row, gap in zip(rows[:6], gaps)}
        print(f"  mistake: {name:20} vectors differ by n tokens {shown}")
        assert max(gaps) > 1e-4, (name, gaps)


def describe(model, ids):
    """How peaked attention is, and how much of GELU is used."""
    seen = []
    hooks = [layer.mlp.gate_proj.register_forward_hook(lambda m, i, o: seen.append(o))
             for layer in model[0].auto_model.layers]
    with torch.no_grad():
        out = model[0].auto_model(torch.tensor([ids]), output_attentions=True)
    for hook in hooks:
        hook.remove()
    peaks = [round(float(a.max(-1).values.mean()), 2) for a in out.attentions]
    spread = [round(float(g.std()), 2) for g in seen]
    print(f"  mean of the largest attention weight by layer {peaks}")
    print(f"  spread of GELU's input by layer {spread}")


def main():
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    write_json(HERE / "texts.json", TEXTS)
    for name, (config, dense, widths, seed) in MODELS.items():
        folder = HERE / name
        print(name)
        write_model(folder, config, dense, widths, seed)
        save_numpy(values(folder, config, seed), HERE / f"{name}.safetensors")
        check(folder, config, seed)


if __name__ == "__main__":
    main()
