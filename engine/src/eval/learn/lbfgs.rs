//! Minimises a smooth convex function (limited-memory BFGS; Nocedal and Wright, algorithm 7.4).

use std::collections::VecDeque;

/// Steps that are remembered.
const MEMORY: usize = 10;

/// Steps after which it ends in any case.
const MAX_STEPS: usize = 1000;

/// The share of the promised decrease that a step has to bring (Armijo).
const SUFFICIENT: f64 = 1e-4;

/// Returns where the function has its minimum, from `start` on, until no part of the gradient is
/// larger than `tolerance`, or no step leads further down in f64.
///
/// `function` fills the gradient at a point and returns the value there. It is convex, so a step down
/// always has the curvature that the update needs; a step that has lost it to rounding is not
/// remembered.
pub(super) fn minimise(
    start: Vec<f64>,
    tolerance: f64,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut at = start;
    let mut gradient = vec![0.0; at.len()];
    let mut value = function(&at, &mut gradient);
    let mut steps: VecDeque<Step> = VecDeque::with_capacity(MEMORY);
    for _ in 0..MAX_STEPS {
        if gradient.iter().all(|part| part.abs() <= tolerance) {
            break;
        }
        let direction = direction(&gradient, &steps);
        let slope = dot(&direction, &gradient);
        // Without memory the gradient's own length says nothing of the scale of the function.
        let mut length = if steps.is_empty() { 1.0 / norm(&gradient).max(1.0) } else { 1.0 };
        let mut next_gradient = vec![0.0; at.len()];
        let (next, next_value) = loop {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let next_value = function(&next, &mut next_gradient);
            if next_value <= value + SUFFICIENT * length * slope {
                break (next, next_value);
            }
            length /= 2.0;
            if length < 1e-12 {
                return at;
            }
        };
        let moved = difference(&next, &at);
        let turned = difference(&next_gradient, &gradient);
        let curvature = dot(&moved, &turned);
        if curvature > 1e-12 * norm(&moved) * norm(&turned) {
            steps.truncate(MEMORY - 1);
            steps.push_front(Step { moved, turned, curvature });
        }
        (at, gradient, value) = (next, next_gradient, next_value);
    }
    at
}

/// How a step changed the point and the gradient.
struct Step {
    moved: Vec<f64>,
    turned: Vec<f64>,
    /// Their dot product.
    curvature: f64,
}

/// The gradient times the inverse Hessian that the steps tell, downhill (the two-loop recursion).
fn direction(gradient: &[f64], steps: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|part| -part).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for step in steps {
        let share = dot(&step.moved, &direction) / step.curvature;
        add(&mut direction, -share, &step.turned);
        shares.push(share);
    }
    if let Some(last) = steps.front() {
        let scale = last.curvature / dot(&last.turned, &last.turned);
        direction.iter_mut().for_each(|part| *part *= scale);
    }
    for (step, share) in steps.iter().zip(shares).rev() {
        let back = dot(&step.turned, &direction) / step.curvature;
        add(&mut direction, share - back, &step.moved);
    }
    direction
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The dot product, in four sums that the compiler can keep in registers.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 4;
    assert_eq!(a.len(), b.len(), "a dot product needs equal widths");
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badly_scaled_bowl_has_its_minimum_where_it_is() {
        let scales = [1e-2, 1.0, 30.0, 1e4];
        let centre = [3.0, -2.0, 0.5, 7.0];
        let bowl = |at: &[f64], gradient: &mut [f64]| {
            let mut value = 0.0;
            for i in 0..4 {
                let off = at[i] - centre[i];
                gradient[i] = scales[i] * off;
                value += scales[i] * off * off / 2.0;
            }
            value
        };
        let found = minimise(vec![0.0; 4], 1e-9, bowl);
        for (found, centre) in found.iter().zip(centre) {
            assert!((found - centre).abs() < 1e-6, "{found}, expected {centre}");
        }
    }

    #[test]
    fn a_function_without_a_second_derivative_bound_ends_too() {
        // x^4: the Hessian vanishes at the minimum.
        let found = minimise(vec![5.0], 1e-9, |at, gradient| {
            gradient[0] = 4.0 * at[0].powi(3);
            at[0].powi(4)
        });
        assert!(found[0].abs() < 1e-3, "{found:?}");
        assert_eq!(minimise(Vec::new(), 1e-9, |_, _| 0.0), Vec::<f64>::new());
    }
}
