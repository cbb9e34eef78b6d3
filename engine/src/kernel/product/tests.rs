//! Products on every kind of processor that this one can be, against sums in f64 of what rows and
//! panels hold, and against each other.

use half::bf16;

use super::*;
use crate::kernel::lines::Lines;
use crate::kernel::panels::{INPUT_GRAIN, pack, padded, unpack};
use crate::kernel::tests::numbers;

const PRECISIONS: [Precision; 4] =
    [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4];
const EPILOGUES: [Epilogue; 3] = [Epilogue::Plain, Epilogue::Add, Epilogue::Geglu];

/// What is there before a product.
const BEFORE: f32 = 77.0;

/// The kernels of this processor and of all that it can stand in for, plainest first.
fn kinds() -> Vec<(&'static str, Kernels)> {
    let mut kinds = vec![("portable", portable::KERNELS)];
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    kinds.push(("amx twin", amx::choose_twin(portable::KERNELS)));
    let mut best = portable::KERNELS;
    for &(name, choose) in KINDS {
        best = choose(best);
        kinds.push((name, best));
    }
    kinds
}

/// Whether sums of bf16 are added pair by pair in one order, with one rounding a product.
fn adds_in_order(kind: &str) -> bool {
    ["portable", "avx2", "avx512"].contains(&kind)
}

fn packed(precision: Precision, weights: &[f32], n_inputs: usize) -> Lines {
    let rows: Vec<&[f32]> = weights.chunks(n_inputs).collect();
    let n_bytes = precision.panel_bytes(n_inputs);
    let mut lines = Lines::default();
    lines.resize(rows.len().div_ceil(PANEL) * n_bytes);
    for (rows, panel) in rows.chunks(PANEL).zip(lines.bytes_mut().chunks_exact_mut(n_bytes)) {
        pack(precision, rows, panel);
    }
    lines
}

fn rows_of(precision: Precision, numbers: &[f32], n_cols: usize) -> Rows {
    let mut rows = Rows::new(precision);
    rows.reset(numbers.len() / n_cols, n_cols);
    for (i, row) in numbers.chunks(n_cols).enumerate() {
        rows.set(i, row);
    }
    rows
}

fn run(kernel: Kernel, rows: &Rows, panels: Panels, epilogue: Epilogue) -> Vec<f32> {
    let n = panels.n_outputs / if epilogue == Epilogue::Geglu { 2 } else { 1 };
    // Wider than needed: what lies between rows must stay.
    let stride = n + 3;
    let mut out = vec![BEFORE; rows.n_rows() * stride];
    product_with(kernel, rows, panels, epilogue, &mut out, stride);
    let (kept, between): (Vec<_>, Vec<_>) = out.chunks(stride).map(|row| row.split_at(n)).unzip();
    assert!(between.concat().iter().all(|&x| x == BEFORE), "written beside the outputs");
    kept.concat()
}

/// A number and how far from it an f32 may be.
#[derive(Clone, Copy)]
struct Near {
    value: f64,
    error: f64,
}

impl Near {
    /// What was there before, and this.
    fn added(self) -> Near {
        let value = self.value + f64::from(BEFORE);
        Near { value, error: self.error + value.abs() / f64::from(1 << 24) }
    }

    /// `gelu(self) * up`: the slope of GELU is at most 1.13; its `exp` has some units of its own.
    fn geglu(self, up: Near) -> Near {
        let cubic = self.value + 0.044_715 * self.value.powi(3);
        let gelu = 0.5 * self.value * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * cubic).tanh());
        let error = 1.13 * self.error * (up.value.abs() + up.error) + gelu.abs() * up.error;
        Near { value: gelu * up.value, error: error + 4e-6 * (self.value * up.value).abs() }
    }
}

/// What row `m` of a product must be: each output's sum in f64, and the most that roundings to f32
/// can add up to in any order.
fn expected(rows: &Rows, panels: Panels, m: usize, epilogue: Epilogue) -> Vec<Near> {
    let n_inputs = rows.n_cols();
    let bytes = &rows.bytes()[m * rows.stride()..][..rows.stride()];
    let row: Vec<f64> = match rows.precision() {
        Precision::F32 => {
            bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
        }
        Precision::Bf16 => {
            bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f64()).collect()
        }
        Precision::Int8 | Precision::Int4 => {
            let scale = f64::from(rows.scales()[m]);
            bytes.iter().map(|&q| f64::from(q.cast_signed()) * scale).collect()
        }
    };
    let n_roundings = match rows.precision() {
        Precision::F32 => padded(n_inputs),
        Precision::Bf16 => 2 * padded(n_inputs),
        Precision::Int8 => 4,
        Precision::Int4 => rows.offsets_per_row() + 2,
    };
    let mut weights = vec![0f32; n_inputs];
    let mut sum = |output: usize| {
        let panel = panels.panel(output / PANEL);
        unpack(panels.precision, panel, output % PANEL, &mut weights);
        let products = row.iter().zip(&weights).map(|(x, w)| x * f64::from(*w));
        let (value, size) = products.fold((0.0, 0.0), |(v, s), x| (v + x, s + x.abs()));
        Near { value, error: size * n_roundings as f64 / f64::from(1 << 24) }
    };
    match epilogue {
        Epilogue::Plain => (0..panels.n_outputs).map(sum).collect(),
        Epilogue::Add => (0..panels.n_outputs).map(|output| sum(output).added()).collect(),
        Epilogue::Geglu => (0..panels.n_outputs / 2)
            .map(|n| sum(n / 16 * PANEL + n % 16).geglu(sum(n / 16 * PANEL + 16 + n % 16)))
            .collect(),
    }
}

/// Every kind, precision and epilogue on one shape.
fn check(n_rows: usize, n_inputs: usize, n_outputs: usize) {
    let (x, w) = (numbers(n_rows * n_inputs, 5), numbers(n_outputs * n_inputs, 17));
    for (precision, epilogue) in PRECISIONS.into_iter().flat_map(|p| EPILOGUES.map(|e| (p, e))) {
        // Gates and ups come in panels that are whole.
        let n_outputs = match epilogue {
            Epilogue::Plain | Epilogue::Add => n_outputs,
            Epilogue::Geglu => n_outputs / PANEL * PANEL,
        };
        let rows = rows_of(precision, &x, n_inputs);
        let bytes = packed(precision, &w[..n_outputs * n_inputs], n_inputs);
        let panels = Panels::new(precision, n_outputs, n_inputs, bytes.bytes());
        let expected: Vec<Near> =
            (0..n_rows).flat_map(|m| expected(&rows, panels, m, epilogue)).collect();
        let plain = run(portable::KERNELS.of(precision), &rows, panels, epilogue);
        for (kind, kernels) in kinds() {
            let what = || format!("{kind} {precision:?}, {n_rows} x {n_inputs} x {n_outputs}");
            let found = run(kernels.of(precision), &rows, panels, epilogue);
            assert_eq!(found.len(), expected.len(), "{}", what());
            for (i, (x, near)) in found.iter().zip(&expected).enumerate() {
                let error = (f64::from(*x) - near.value).abs();
                assert!(error <= near.error, "{} at {i}: {x}, not {}", what(), near.value);
            }
            if precision != Precision::Bf16 || adds_in_order(kind) {
                assert!(
                    found.iter().map(|x| x.to_bits()).eq(plain.iter().map(|x| x.to_bits())),
                    "{} differs from portable",
                    what()
                );
            }
        }
    }
}

#[test]
fn any_number_of_rows() {
    for n_rows in 0..=50 {
        check(n_rows, 65, 33);
    }
}

#[test]
fn any_width() {
    for n_inputs in [1, 31, 33, 64, 65, 256, 768, 1152] {
        check(7, n_inputs, 33);
        check(18, n_inputs, 32);
    }
}

#[test]
fn any_number_of_outputs() {
    for n_outputs in [1, 16, 31, 32, 33, 100] {
        check(3, 70, n_outputs);
        check(35, 70, n_outputs);
    }
}

/// The largest sums there are: int8 must neither saturate nor wrap.
#[test]
fn extreme_weights_and_rows() {
    for (kind, kernels) in kinds() {
        for (x, w) in [(1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)] {
            let rows = rows_of(Precision::Int8, &[x; 20 * 1152], 1152);
            let bytes = packed(Precision::Int8, &[w; 32 * 1152], 1152);
            let panels = Panels::new(Precision::Int8, 32, 1152, bytes.bytes());
            let found = run(kernels.int8, &rows, panels, Epilogue::Plain);
            assert!(
                found.iter().all(|y| (y - x * w * 1152.0).abs() < 1e-3),
                "{kind}: {}",
                found[0]
            );
        }
    }
}

#[test]
fn shared_equals_unshared() {
    let (n_inputs, n_outputs) = (130, 32 * 7 + 4);
    for n_threads in [1, 2, 3, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        for (precision, epilogue) in PRECISIONS.into_iter().flat_map(|p| EPILOGUES.map(|e| (p, e)))
        {
            let (divisor, n_outputs) = match epilogue {
                Epilogue::Plain | Epilogue::Add => (1, n_outputs),
                Epilogue::Geglu => (2, n_outputs / PANEL * PANEL),
            };
            let rows = rows_of(precision, &numbers(5 * n_inputs, 3), n_inputs);
            let bytes = packed(precision, &numbers(n_outputs * n_inputs, 4), n_inputs);
            let panels = Panels::new(precision, n_outputs, n_inputs, bytes.bytes());
            let stride = n_outputs / divisor + 1;
            let (mut alone, mut shared) = (vec![BEFORE; 5 * stride], vec![BEFORE; 5 * stride]);
            product(&rows, panels, epilogue, &mut alone, stride);
            // What an earlier product left in the room to work in must not matter.
            let mut blocks = vec![f32::NAN; 1 << 16];
            pool.install(|| {
                product_shared(&rows, panels, epilogue, &mut blocks, &mut shared, stride);
            });
            assert_eq!(alone, shared, "{precision:?} on {n_threads} threads");
        }
    }
}

#[test]
fn some_outputs_and_inputs_of_a_matrix() {
    let (n_inputs, n_outputs, n_rows) = (300, 100, 5);
    let (x, w) = (numbers(n_rows * n_inputs, 3), numbers(n_outputs * n_inputs, 4));
    for precision in PRECISIONS {
        let bytes = packed(precision, &w, n_inputs);
        let panels = Panels::new(precision, n_outputs, n_inputs, bytes.bytes());
        let kernel = kernels().of(precision);
        let whole = run(kernel, &rows_of(precision, &x, n_inputs), panels, Epilogue::Plain);
        for outputs in [0..32, 32..96, 64..100, 96..97] {
            let some = panels.outputs(outputs.clone());
            assert_eq!(
                (some.n_outputs, some.len()),
                (outputs.len(), outputs.len().div_ceil(PANEL))
            );
            let some = run(kernel, &rows_of(precision, &x, n_inputs), some, Epilogue::Plain);
            let same: Vec<f32> =
                whole.chunks(n_outputs).flat_map(|row| &row[outputs.clone()]).copied().collect();
            assert_eq!(some, same, "{precision:?} {outputs:?}");
        }
        if matches!(precision, Precision::Int8 | Precision::Int4) {
            continue;
        }
        for inputs in [0..64, 64..300, 128..129, 192..292, 256..300] {
            let cut = |rows: &[f32]| -> Vec<f32> {
                rows.chunks(n_inputs).flat_map(|row| &row[inputs.clone()]).copied().collect()
            };
            let rows = rows_of(precision, &cut(&x), inputs.len());
            let some = run(kernel, &rows, panels.inputs(inputs.clone()), Epilogue::Plain);
            // Of the same weights packed alone.
            let bytes = packed(precision, &cut(&w), inputs.len());
            let alone = Panels::new(precision, n_outputs, inputs.len(), bytes.bytes());
            let alone = run(kernel, &rows, alone, Epilogue::Plain);
            assert_eq!(some, alone, "{precision:?} {inputs:?}");
        }
        let twice = panels.inputs(INPUT_GRAIN..260).outputs(32..64).inputs(INPUT_GRAIN..100);
        assert_eq!(
            twice.panel(0),
            &panels.inputs(2 * INPUT_GRAIN..164).panel(1)[..twice.panel(0).len()]
        );
    }
}

#[test]
fn rows_that_are_not_numbers_spoil_only_themselves() {
    let bytes_of = |precision| packed(precision, &numbers(32 * 64, 4), 64);
    for precision in PRECISIONS {
        let bytes = bytes_of(precision);
        let panels = Panels::new(precision, 32, 64, bytes.bytes());
        let mut x = numbers(3 * 64, 3);
        let sound =
            run(kernels().of(precision), &rows_of(precision, &x, 64), panels, Epilogue::Plain);
        for odd in [f32::NAN, -f32::NAN, f32::from_bits(u32::MAX), f32::INFINITY, -1e30, 1e-40] {
            x[64..128].fill(odd);
            for (_, kernels) in kinds() {
                let found = run(
                    kernels.of(precision),
                    &rows_of(precision, &x, 64),
                    panels,
                    Epilogue::Plain,
                );
                if precision != Precision::Bf16 {
                    assert_eq!(found[..32], sound[..32], "{odd}");
                    assert_eq!(found[64..], sound[64..], "{odd}");
                }
                assert!(found[..32].iter().chain(&found[64..]).all(|x| x.is_finite()));
            }
        }
    }
}
