"""Compares the speed of training: forward and backward of one model in bf16, Gemmule beside PyTorch with torch.compile, in one run.

    python train.py MODEL --gemmule PATH [--rounds 5] [--seconds 5] [--cases 256x32 64x128] [--json OUT.json]

Both get f32 weights and round to bf16 what meets in a product: PyTorch by autocast, Gemmule by `--precision bf16`. A step is one batch of
sequences of random ids, all of one length, to the raw vectors of both dense layers, and the gradients of all weights of a sum over
them; no loss and no optimiser. Rounds alternate between the two on the same two CPUs; a figure is the median over the rounds of the
medians within them, the ratio the median of the rounds' ratios.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

from embed import timed

THREADS = 2


class Encoder(torch.nn.Module):
    """Token ids to vectors before they are scaled to unit length."""

    def __init__(self, model: Path):
        super().__init__()
        self.body = transformers.AutoModel.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa")
        self.body.config.use_cache = False
        dense = [load_file(model / folder / "model.safetensors")["linear.weight"].float() for folder in ("2_Dense", "3_Dense")]
        self.dense = torch.nn.ParameterList(torch.nn.Parameter(weight) for weight in dense)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        y = self.body(input_ids=ids).last_hidden_state.mean(1)
        for weight in self.dense:
            y = torch.nn.functional.linear(y, weight)
        return y


def stepper(model: Path, n: int, length: int, compiled: bool):
    """What runs one step."""
    torch.manual_seed(0)
    encoder = Encoder(model)
    vocabulary = encoder.body.config.vocab_size
    ids = torch.randint(vocabulary, (n, length))
    factors = torch.randn(n, encoder.dense[1].shape[0])
    forward = torch.compile(encoder) if compiled else encoder

    def step():
        encoder.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            y = forward(ids)
        (y.float() * factors).sum().backward()

    step()
    missing = [name for name, weight in encoder.named_parameters() if weight.grad is None]
    assert not missing, f"no gradient for {missing}"
    return step


def gemmule(args, n: int, length: int) -> dict:
    command = [args.gemmule, "--json", "bench", "train", "--model", args.model.resolve(), "--batch", n, "--tokens", length]
    command += ["--precision", "bf16", "--threads", THREADS]
    return json.loads(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--gemmule", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--cases", nargs="+", default=["256x32", "64x128"], help="sequences x tokens of each")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    torch.set_num_threads(THREADS)
    table = {}
    for case in args.cases:
        n, length = map(int, case.split("x"))
        step = stepper(args.model, n, length, not args.eager)
        rounds = []
        for _ in range(args.rounds):
            ours = gemmule(args, n, length)
            theirs = 1000 * n * length / timed(step, args.seconds)
            rounds.append({"gemmule": ours["tokens_per_s"], "pytorch": theirs, "cosine": ours["gradient_cosine_to_f32"]})
            print(f"{case}: Gemmule {ours['tokens_per_s']:,.0f}, PyTorch {theirs:,.0f} tokens/s", flush=True)
        median = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        ratio = statistics.median(r["gemmule"] / r["pytorch"] for r in rounds)
        table[case] = median | {"ratio": ratio, "rounds": rounds}
        print(f"{case}: Gemmule {median['gemmule']:,.0f}, PyTorch {median['pytorch']:,.0f} tokens/s: {ratio:.2f} x, gradients' cosine to f32 {median['cosine']:.6f}")
    if args.json:
        args.json.write_text(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "cases": table}, indent=1))


if __name__ == "__main__":
    main()
