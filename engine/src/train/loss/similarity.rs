//! The batch as the teacher sees it: which positives it finds near a query, and how near against the
//! others.

use rayon::prelude::*;

use super::contrastive::{softmax, transposed};
use super::terms::Similarity;

/// The Kullback-Leibler divergence of the student's distribution over the batch from the teacher's,
/// the mean over rows; its gradient, `[n, n]`.
///
/// `cosines` and `teacher`: `[n, n]`, queries against positives.
pub(super) fn divergence(
    term: &Similarity,
    cosines: &[f32],
    teacher: &[f32],
    n: usize,
) -> (f64, Vec<f32>) {
    let (value, gradient) = one_direction(term.temperature, cosines, teacher, n);
    if !term.both_directions {
        return (value, gradient);
    }
    let (cosines, teacher) = (transposed(cosines, n), transposed(teacher, n));
    let (other, back) = one_direction(term.temperature, &cosines, &teacher, n);
    let back = transposed(&back, n);
    let both = gradient.par_iter().zip(&back).map(|(a, b)| (a + b) / 2.0).collect();
    ((value + other) / 2.0, both)
}

fn one_direction(temperature: f32, cosines: &[f32], teacher: &[f32], n: usize) -> (f64, Vec<f32>) {
    let scale = 1.0 / (n as f32 * temperature);
    let rows = cosines.par_chunks(n).zip(teacher.par_chunks(n)).map(|(student, teacher)| {
        let logits = |row: &[f32]| row.iter().map(|x| x / temperature).collect::<Vec<f32>>();
        let (of_student, of_teacher) = (logits(student), logits(teacher));
        let (mut p_student, mut p_teacher) = (of_student.clone(), of_teacher.clone());
        let (log_student, log_teacher) = (softmax(&mut p_student), softmax(&mut p_teacher));
        let mut value = 0.0;
        for j in 0..n {
            let gap =
                f64::from(of_teacher[j]) - log_teacher - f64::from(of_student[j]) + log_student;
            value += f64::from(p_teacher[j]) * gap;
        }
        let slopes = p_student.iter().zip(&p_teacher).map(|(s, t)| (s - t) * scale);
        (value, slopes.collect::<Vec<f32>>())
    });
    let rows: Vec<(f64, Vec<f32>)> = rows.collect();
    let value = rows.iter().map(|(value, _)| value).sum::<f64>() / n as f64;
    (value, rows.into_iter().flat_map(|(_, row)| row).collect())
}
