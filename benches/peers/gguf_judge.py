"""llama.cpp as judge of the GGUF files that are written here: does it load them, does it give the
same vectors as sentence-transformers, does its tokenizer give the same ids?

    python gguf_judge.py blocks FOLDER FILE.gguf...
    python gguf_judge.py vectors FOLDER FILE.gguf... [--n 24] [--longest 700] [--dequantised]
    python gguf_judge.py tokens TOKENIZER.json FILE.gguf TEXTS... [--n 2000]

`blocks` quantises the weights of the sentence-transformers FOLDER that a file was made from by
ggml's reference functions and compares each byte; it ends with 1 if one differs.
`vectors` feeds token ids, so a model whose tokenizer GGUF cannot express is judged as well. Vectors
narrower than the folder's are compared with its first components. With --dequantised the folder's
model runs on the file's numbers, which leaves out what quantising weights costs. `tokens` takes lines and passages from text files
(or .gz) and adds odd strings of its own; it ends with 1 if ids differ.

Judged with llama-cpp-python 0.3.36 (its own llama.cpp), gguf 0.19.0, sentence-transformers 6.2.0,
transformers 5.23.0, torch 2.15.0, tokenizers 0.23.3, numpy 2.4.6. Built from source:

    CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_AMX_TILE=OFF -DGGML_AMX_INT8=OFF -DGGML_AMX_BF16=OFF" \\
        pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36

AMX is off because machines of one build may lack it.
"""

import argparse
import ctypes
import gzip
import os
import random
import sys

import llama_cpp as llama
import numpy as np

SEED = 5

ODD = [
    "", " ", "  ", "   ", " " * 31, " " * 32, " " * 70, "\n", "\n\n", "\n" * 40, "\t", "\t\t\t", "\t" * 40,
    " a", "a ", "a  b", "a\n b", "\r\n", "a\r\nb", "\u2581", "a\u2581b", "\u2581\u2581", "\u00a0", "\u3000",
    "<bos>", "a<eos>b", "<pad>", "<unk>", "<mask>", "<start_of_turn>user\nhi<end_of_turn>", "<unused0>", "<0x0A>",
    "<table><tr><td>x</td></tr></table>", "[multimodal]", "<start_of_image>", "<image_soft_token>",
    "\x00", "\x01\x02", "\x7f", "\u200b", "\u200d", "\ufeff", "\ufffd", "e\u0301", "\u00e9", "\u1112\u1161\u11ab",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U00013000\U00012000", "\U000e0041",
    "0123456789", "1,234.56", "000000", "aaaaaaaaaaaaaaaaaaaa", "=" * 80, "-" * 200, "." * 7, "ha" * 50,
    "\u4e2d\u6587\u6ca1\u6709\u7a7a\u683c", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd", "task: search result | query: x", "title: none | text: x",
]


def quiet():
    """llama.cpp prints pages while it loads."""
    callback = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(callback, ctypes.c_void_p(0))
    return callback  # kept by the caller: the library holds a bare pointer to it


def load(path, vocab_only=False):
    params = llama.llama_model_default_params()
    params.vocab_only = vocab_only
    params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(path.encode(), params)
    if not model:
        sys.exit(f"llama.cpp does not load {path}")
    return model


def embed(model, sequences):
    """One mean-pooled vector after the dense layers for each list of ids, not normalised."""
    longest = max(map(len, sequences))
    params = llama.llama_context_default_params()
    # Full attention to both sides: a sequence must fit one micro-batch.
    params.n_ctx = params.n_batch = params.n_ubatch = longest
    params.n_threads = params.n_threads_batch = os.cpu_count()
    params.embeddings = True
    params.pooling_type = llama.LLAMA_POOLING_TYPE_UNSPECIFIED  # what the file says
    context = llama.llama_init_from_model(model, params)
    if not context:
        sys.exit("llama.cpp makes no context")
    if llama.llama_pooling_type(context) != llama.LLAMA_POOLING_TYPE_MEAN:
        sys.exit("the file does not ask for mean pooling")
    width = llama.llama_model_n_embd(model)
    vectors = []
    for ids in sequences:
        batch = llama.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        if llama.llama_decode(context, batch) != 0:
            sys.exit(f"llama.cpp fails on {len(ids)} tokens")
        pointer = llama.llama_get_embeddings_seq(context, 0)
        vectors.append(np.ctypeslib.as_array(pointer, (width,)).copy())
        llama.llama_batch_free(batch)
    llama.llama_free(context)
    return np.array(vectors)


LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "post_feedforward_layernorm": "post_ffw_norm",
}
OUTER = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}


def stored_name(name):
    """layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight"""
    if name in OUTER:
        return OUTER[name]
    _, layer, part = name.split(".", 2)
    return f"blk.{layer}.{LAYER[part.removesuffix('.weight')]}.weight"


def weights_of(folder):
    """Pairs of stored name and f32 numbers, norms as 1 + w."""
    from safetensors import safe_open

    for part, rename in [("", stored_name), ("2_Dense", lambda _: "dense_2.weight"),
                         ("3_Dense", lambda _: "dense_3.weight")]:
        with safe_open(os.path.join(folder, part, "model.safetensors"), "pt") as file:
            for name in file.keys():
                numbers = file.get_tensor(name).float().numpy()
                yield rename(name), numbers + np.float32(1) if name.endswith("norm.weight") else numbers


def quantised(numbers, dtype):
    """The bytes that ggml itself makes of f32 numbers."""
    import gguf

    if dtype.name in ("F32", "F16", "BF16"):
        return gguf.quantize(numbers, dtype).tobytes()
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[dtype]
    blocks = np.empty(numbers.size // block_len * block_bytes, dtype=np.uint8)
    ggml = ctypes.CDLL(os.path.join(os.path.dirname(llama.__file__), "lib", "libggml-base.so"))
    function = getattr(ggml, f"quantize_row_{dtype.name[0].lower()}{dtype.name[1:]}_ref")
    numbers = np.ascontiguousarray(numbers)
    function(numbers.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p),
             ctypes.c_int64(numbers.size))
    return blocks.tobytes()


def judge_blocks(folder, files):
    import gguf

    code = 0
    for path in files:
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        n_tensors, n_bytes, differ = len(tensors), 0, []
        for name, numbers in weights_of(folder):
            tensor = tensors.pop(name)
            shape = tuple(int(dim) for dim in reversed(tensor.shape))
            # The second dense layer may be cut to its first rows.
            if shape != numbers.shape:
                print(f"  {name}: {shape} of {numbers.shape}")
                numbers = numbers[: shape[0]]
            expected = np.frombuffer(quantised(numbers, tensor.tensor_type), dtype=np.uint8)
            found = tensor.data.view(np.uint8).ravel()
            n_bytes += expected.size
            if found.size != expected.size or (n_wrong := np.count_nonzero(found != expected)):
                differ.append((name, tensor.tensor_type.name, n_wrong))
        code |= bool(differ or tensors)
        print(f"{os.path.basename(path)}: {n_tensors} tensors, {n_bytes} bytes; differ: {differ or 'none'}; "
              f"not the folder's: {sorted(tensors) or 'none'}")
    return int(code)


def dequantised(model, path):
    """The numbers of a file into the model of its folder; norms lose the one."""
    import gguf
    import torch

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

    def copy(parameter, name):
        tensor = tensors[name]
        numbers = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
        parameter[: numbers.shape[0]].copy_(numbers.reshape(-1, *parameter.shape[1:]))
        if name.endswith("norm.weight"):
            parameter.sub_(1)

    with torch.no_grad():
        for name, parameter in model[0].auto_model.named_parameters():
            copy(parameter, stored_name(name))
        copy(model[2].linear.weight, "dense_2.weight")
        copy(model[3].linear.weight, "dense_3.weight")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def judge_vectors(folder, files, n, longest, on_the_files_numbers):
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
    vocab_size = model[0].auto_model.config.vocab_size
    rng = random.Random(SEED)
    # Lengths from a few tokens to beyond the window of the sliding layers.
    lengths = [3 + round((longest - 3) * (i / (n - 1)) ** 2) for i in range(n)]
    sequences = [[2] + [rng.randrange(5, vocab_size) for _ in range(k - 2)] + [1] for k in lengths]

    def run():
        vectors = []
        with torch.no_grad():
            for ids in sequences:
                ids = torch.tensor([ids])
                features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                vectors.append(model(features)["sentence_embedding"][0].float().numpy())
        return np.array(vectors)

    truth = run()
    cross = (unit(truth) @ unit(truth).T)[np.triu_indices(n, 1)]
    print(f"{n} sequences of {lengths[0]} to {lengths[-1]} random ids; cosine between different ones: "
          f"mean {cross.mean():.4f}, largest {cross.max():.4f}")
    for path in files:
        loaded = load(path)
        vectors = embed(loaded, sequences)
        llama.llama_model_free(loaded)
        if on_the_files_numbers:
            dequantised(model, path)
            truth = run()
        width = vectors.shape[1]
        cosine = (unit(vectors) * unit(truth[:, :width])).sum(axis=1)
        print(f"{os.path.basename(path)}: cosine least {cosine.min():.7f}, mean {cosine.mean():.7f}; "
              f"width {width} of {truth.shape[1]}")


def texts_of(paths, n):
    rng = random.Random(SEED)
    lines, passages = [], []
    for path in paths:
        opened = gzip.open if path.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8", errors="replace") as file:
            text = file.read(8 << 20)
        lines += [line for line in text.split("\n") if line]
        starts = [rng.randrange(max(1, len(text))) for _ in range(n // (2 * len(paths)))]
        passages += [text[at : at + rng.randrange(1, 1500)] for at in starts]
    sampled = rng.sample(lines, min(len(lines), n - len(ODD) - len(passages)))
    return ODD + passages + sampled


def judge_tokens(tokenizer_json, path, paths, n):
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(tokenizer_json)
    model = load(path, vocab_only=True)
    vocab = llama.llama_model_get_vocab(model)
    texts = texts_of(paths, n)
    differ = []
    n_ids = 0
    for text in texts:
        raw = text.encode()
        room = (llama.llama_token * (len(raw) + 8))()
        count = llama.llama_tokenize(vocab, raw, len(raw), room, len(room), True, True)
        expected = reference.encode(text).ids
        n_ids += len(expected)
        if list(room[: max(count, 0)]) != expected:
            differ.append((text, list(room[: max(count, 0)]), expected))
    print(f"{len(texts)} texts, {n_ids} ids: {len(differ)} texts differ")
    for text, found, expected in differ[:40]:
        at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
        shown = [[reference.id_to_token(i) for i in ids[at : at + 6]] for ids in (found, expected)]
        print(f"  {text[:50]!r} from id {at}: llama.cpp {shown[0]}, tokenizers {shown[1]}")
    return 1 if differ else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    blocks = commands.add_parser("blocks")
    blocks.add_argument("folder")
    blocks.add_argument("files", nargs="+")
    vectors = commands.add_parser("vectors")
    vectors.add_argument("folder")
    vectors.add_argument("files", nargs="+")
    vectors.add_argument("--n", type=int, default=24)
    vectors.add_argument("--longest", type=int, default=700)
    vectors.add_argument("--dequantised", action="store_true")
    tokens = commands.add_parser("tokens")
    tokens.add_argument("tokenizer_json")
    tokens.add_argument("file")
    tokens.add_argument("texts", nargs="+")
    tokens.add_argument("--n", type=int, default=2000)
    args = parser.parse_args()
    kept = quiet()
    llama.llama_backend_init()
    if args.command == "vectors":
        judge_vectors(args.folder, args.files, args.n, args.longest, args.dequantised)
        return 0
    if args.command == "blocks":
        return judge_blocks(args.folder, args.files)
    code = judge_tokens(args.tokenizer_json, args.file, args.texts, args.n)
    del kept
    return code


if __name__ == "__main__":
    sys.exit(main())
