//! Vectors of a larger model, to be learned from.
//!
//! A teacher is a folder: `vectors.npy`, a matrix of `[n, dims]`, and `texts.jsonl`, one JSON string a
//! line, whose text the row of the same number belongs to. Texts are known by their hash, so training
//! needs only the texts it already has. The teacher's own prompts are its own affair.
//!
//! A teacher that was not trained for prefixes has no best coordinates first. Its vectors are turned
//! by a principal component analysis without centring, which changes no cosine at full width and makes
//! each prefix the best one of its width for the inner products of these vectors (Eckart and Young
//! 1936): only then does it mean something that prefixes of the student are like prefixes of the teacher.
//!
//! A student that has learnt has a turn of its own; one that is told to match its teacher in another would first have
//! to forget. So the teacher can also be turned towards the student, as near as a turn can bring it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use candle_core::{Device, Tensor};
use half::f16;

use super::data::text_hash;
use crate::eval::lines::{for_each, problem_in};
use crate::linear::{eigen, nearest_turn};
use crate::{Embedder, Error, NO_TASK, Result, npy};

const VECTORS: &str = "vectors.npy";
const TEXTS: &str = "texts.jsonl";

/// Rows whose products are added up at once.
const PART_ROWS: usize = 8192;

/// The vectors of a teacher, by text.
pub struct Teacher {
    dims: usize,
    /// By the hash of the text.
    rows: HashMap<u64, u32>,
    vectors: Vec<f16>, // [n, dims], unit length
    /// What turns them, `[dims after it, dims]`; none if they stay as they are.
    turn: Option<Vec<f32>>,
}

impl Teacher {
    /// Reads a teacher's folder. With `to_axes`, vectors are turned to their principal axes.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] if the two files are not there, not whole, or not of the same
    /// texts; [`Error::Tensor`] if there is no memory.
    pub fn read(folder: &Path, to_axes: bool) -> Result<Teacher> {
        let path = folder.join(TEXTS);
        let mut hashes = Vec::new();
        for_each(&path, "read the teacher's texts", |_, line| {
            let text: String = serde_json::from_str(line)
                .map_err(|e| format!("{e}, expected one JSON string a line"))?;
            hashes.push(text_hash(&text));
            Ok(())
        })?;
        let path = folder.join(VECTORS);
        let failed =
            |source| Error::Io { doing: "read the teacher's vectors", path: path.clone(), source };
        let file = BufReader::with_capacity(1 << 20, File::open(&path).map_err(failed)?);
        let mut reader = npy::Reader::new(file).map_err(failed)?;
        if reader.n_rows() != hashes.len() {
            let problem = format!(
                "{} rows, but {TEXTS} has {} texts; the files are not of one run",
                reader.n_rows(),
                hashes.len()
            );
            return Err(problem_in(&path, None, problem));
        }
        let dims = reader.width();
        let mut vectors = Vec::with_capacity(hashes.len() * dims);
        let mut row = Vec::new();
        while reader.next_row(&mut row).map_err(failed)? {
            unit(&mut row);
            if row.iter().any(|x| !x.is_finite()) {
                let problem =
                    format!("row {} has numbers that are not finite", vectors.len() / dims);
                return Err(problem_in(&path, None, problem));
            }
            vectors.extend(row.iter().map(|&x| f16::from_f32(x)));
        }
        let rows = hashes.into_iter().zip(0..).collect();
        let mut teacher = Teacher { dims, rows, vectors, turn: None };
        if to_axes {
            teacher.turn = Some(teacher.principal_axes()?.1);
        }
        Ok(teacher)
    }

    /// The width of its vectors, after their turn.
    pub fn dims(&self) -> usize {
        self.turn.as_ref().map_or(self.dims, |turn| turn.len() / self.dims)
    }

    /// Turns its vectors as near as can be to those of a student: `student` has the unit vectors of the texts with
    /// these hashes, `[n, any width]`. It has then the student's width.
    ///
    /// # Errors
    /// [`Error::Tensor`] if there is no memory.
    pub(super) fn turn_to(&mut self, hashes: &[u64], student: &[f32]) -> Result<()> {
        self.turn = None;
        let (n, width) = (hashes.len(), student.len() / hashes.len().max(1));
        let Some(own) = self.vectors(hashes)?.filter(|_| width > 0) else { return Ok(()) };
        let own = Tensor::from_vec(own, (n, self.dims), &Device::Cpu)?;
        let student = Tensor::from_slice(student, (n, width), &Device::Cpu)?;
        let products: Vec<f32> = own.t()?.matmul(&student)?.flatten_all()?.to_vec1()?;
        let products: Vec<f64> = products.into_iter().map(f64::from).collect();
        let turn = nearest_turn(&products, self.dims, width);
        self.turn = Some(turn.into_iter().map(|x| x as f32).collect());
        Ok(())
    }

    /// True if it has a vector of the text with this hash.
    pub(super) fn knows(&self, hash: u64) -> bool {
        self.rows.contains_key(&hash)
    }

    /// The vectors of texts by their hashes, `[n, dims]`; none if one of them is missing.
    pub(super) fn vectors(&self, hashes: &[u64]) -> Result<Option<Vec<f32>>> {
        let mut values = Vec::with_capacity(hashes.len() * self.dims);
        for hash in hashes {
            let Some(&row) = self.rows.get(hash) else { return Ok(None) };
            let row = &self.vectors[row as usize * self.dims..][..self.dims];
            values.extend(row.iter().map(|x| x.to_f32()));
        }
        let Some(turn) = self.turn.as_ref().filter(|_| !hashes.is_empty()) else {
            return Ok(Some(values));
        };
        let rows = Tensor::from_vec(values, (hashes.len(), self.dims), &Device::Cpu)?;
        let turn = Tensor::from_slice(turn, (self.dims(), self.dims), &Device::Cpu)?;
        Ok(Some(rows.matmul(&turn.t()?)?.flatten_all()?.to_vec1()?))
    }

    /// The share of the squared length along each axis, and the axes as rows, largest first.
    fn principal_axes(&self) -> Result<(Vec<f64>, Vec<f32>)> {
        let n = self.dims;
        let mut products = vec![0.0_f64; n * n];
        for part in self.vectors.chunks(PART_ROWS * n) {
            let values: Vec<f32> = part.iter().map(|x| x.to_f32()).collect();
            let rows = Tensor::from_vec(values, (part.len() / n, n), &Device::Cpu)?;
            let part: Vec<f32> = rows.t()?.matmul(&rows)?.flatten_all()?.to_vec1()?;
            products.iter_mut().zip(&part).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        // Rounding leaves it nearly symmetric; its eigenvectors ask for all of it.
        for i in 0..n {
            for j in 0..i {
                let mean = (products[i * n + j] + products[j * n + i]) / 2.0;
                (products[i * n + j], products[j * n + i]) = (mean, mean);
            }
        }
        let (values, axes) = eigen(&products, n);
        let whole: f64 = values.iter().sum();
        let shares = values.iter().map(|value| value / whole).collect();
        Ok((shares, axes.into_iter().map(|x| x as f32).collect()))
    }

    /// Writes the vectors of texts by an installed model as a teacher's folder. After each pass `done`
    /// is told how many texts are finished; when it returns false the work stops.
    ///
    /// # Errors
    /// Those of the model; [`Error::Io`]; [`Error::Cancelled`] when `done` says so.
    pub fn write(
        folder: &Path,
        embedder: &Embedder,
        texts: &[&str],
        mut done: impl FnMut(usize) -> bool,
    ) -> Result<()> {
        let prompt = embedder.prompt("STS").or_else(|_| embedder.prompt(NO_TASK))?;
        let tokens = texts.iter().map(|text| embedder.tokenize_truncated(prompt, text));
        let tokens = tokens.collect::<Result<Vec<_>>>()?;
        let rows = embedder.embed(&tokens, |n_texts, _| done(n_texts))?;
        let create = |name: &str| {
            let path = folder.join(name);
            let failed =
                |source| Error::Io { doing: "write the teacher's", path: path.clone(), source };
            Ok::<_, Error>((BufWriter::new(File::create(&path).map_err(failed)?), path))
        };
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            doing: "make the teacher's folder",
            path: folder.to_owned(),
            source,
        })?;
        let (mut file, path) = create(VECTORS)?;
        let written =
            npy::write(&mut file, &rows, embedder.full_width()).and_then(|()| file.flush());
        written.map_err(|source| Error::Io { doing: "write the teacher's", path, source })?;
        let (mut file, path) = create(TEXTS)?;
        let mut write = || {
            for text in texts {
                serde_json::to_writer(&mut file, text)?;
                file.write_all(b"\n")?;
            }
            file.flush()
        };
        write().map_err(|source| Error::Io { doing: "write the teacher's", path, source })
    }
}

fn unit(row: &mut [f32]) {
    let square: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let inverse = 1.0 / square.sqrt().max(1e-12);
    row.iter_mut().for_each(|x| *x = (f64::from(*x) * inverse) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::reference::{numbers, value};

    fn folder(rows: &[Vec<f32>], texts: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join(VECTORS)).unwrap();
        npy::write(&mut file, rows, rows[0].len()).unwrap();
        let lines: Vec<String> = texts.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
        std::fs::write(folder.path().join(TEXTS), lines.join("\n")).unwrap();
        folder
    }

    #[test]
    fn principal_axes_are_those_of_numpy() {
        let reference = value("pca");
        let rows: Vec<Vec<f32>> =
            reference["rows"].as_array().unwrap().iter().map(numbers).collect();
        let vectors = rows.concat().into_iter().map(f16::from_f32).collect();
        let teacher = Teacher { dims: 6, rows: HashMap::new(), vectors, turn: None };
        let (shares, axes) = teacher.principal_axes().unwrap();
        for (found, expected) in shares.iter().zip(numbers(&reference["energies"])) {
            assert!((found - f64::from(expected)).abs() < 1e-5);
        }
        for (i, expected) in reference["axes"].as_array().unwrap().iter().enumerate() {
            let found = &axes[i * 6..][..6];
            let along: f32 = found.iter().zip(numbers(expected)).map(|(a, b)| a * b).sum();
            assert!(along.abs() > 0.9999, "axis {i}: {along}");
        }
    }

    #[test]
    fn turning_keeps_cosines_and_prefixes_come_nearest() {
        let mut random = crate::random::Random::new(2);
        let factors: Vec<f32> = (0..64).map(|_| random.normal() as f32).collect();
        let row = |random: &mut crate::random::Random| -> Vec<f32> {
            // Most of the length lies in two directions, which are no coordinates.
            let parts: Vec<f32> =
                (0..8).map(|k| random.normal() as f32 * if k < 2 { 5.0 } else { 0.5 }).collect();
            (0..8).map(|d| (0..8).map(|k| parts[k] * factors[k * 8 + d]).sum()).collect()
        };
        let rows: Vec<Vec<f32>> = (0..30).map(|_| row(&mut random)).collect();
        let names: Vec<String> = (0..30).map(|i| format!("text {i}")).collect();
        let texts: Vec<&str> = names.iter().map(String::as_str).collect();
        let folder = folder(&rows, &texts);
        let hashes: Vec<u64> = texts.iter().map(|text| text_hash(text)).collect();
        let of = |to_axes| {
            let teacher = Teacher::read(folder.path(), to_axes).unwrap();
            teacher.vectors(&hashes).unwrap().unwrap()
        };
        let (plain, turned) = (of(false), of(true));
        let dot = |of: &[f32], i: usize, j: usize, width: usize| -> f32 {
            (0..width).map(|d| of[i * 8 + d] * of[j * 8 + d]).sum()
        };
        let error = |of: &[f32], width: usize| -> f32 {
            let pairs = (0..30).flat_map(|i| (0..30).map(move |j| (i, j)));
            pairs.map(|(i, j)| (dot(of, i, j, width) - dot(&plain, i, j, 8)).powi(2)).sum()
        };
        assert!(error(&turned, 8) < 1e-3, "{}", error(&turned, 8));
        assert!(error(&turned, 2) < error(&plain, 2) / 4.0);
    }

    #[test]
    fn a_teacher_turns_to_a_student_that_knows_half_of_it() {
        let mut random = crate::random::Random::new(3);
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal() as f32).collect() };
        let rows: Vec<Vec<f32>> = (0..200).map(|_| draw(8)).collect();
        // The student's turn exchanges coordinates; it has but six, and errs.
        let student: Vec<f32> = (rows.iter())
            .flat_map(|row| {
                let error = draw(6);
                let mut row: Vec<f32> = (0..6).map(|d| row[7 - d] + 0.1 * error[d]).collect();
                unit(&mut row);
                row
            })
            .collect();
        let names: Vec<String> = (0..200).map(|i| format!("text {i}")).collect();
        let texts: Vec<&str> = names.iter().map(String::as_str).collect();
        let folder = folder(&rows, &texts);
        let hashes: Vec<u64> = texts.iter().map(|text| text_hash(text)).collect();
        let mut teacher = Teacher::read(folder.path(), true).unwrap();
        teacher.turn_to(&hashes, &student).unwrap();
        assert_eq!(teacher.dims(), 6);
        for (turned, row) in teacher.vectors(&hashes).unwrap().unwrap().chunks(6).zip(&rows) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            for d in 0..6 {
                assert!((turned[d] - row[7 - d] / length).abs() < 0.1, "{turned:?} {row:?}");
            }
        }
    }

    #[test]
    fn files_that_do_not_fit_together_are_refused_and_missing_texts_known() {
        let rows = vec![vec![1.0, 0.0], vec![0.0, 2.0]];
        let message =
            Teacher::read(folder(&rows, &["one"]).path(), false).err().unwrap().to_string();
        assert!(message.contains("2 rows, but texts.jsonl has 1 texts"), "{message}");
        let files = folder(&rows, &["one", "two\nlines"]);
        let teacher = Teacher::read(files.path(), false).unwrap();
        let [one, two, three] = ["one", "two\nlines", "three"].map(text_hash);
        assert_eq!(teacher.vectors(&[two]).unwrap().unwrap(), [0.0, 1.0]);
        assert!(teacher.vectors(&[one, three]).unwrap().is_none());
        assert_eq!([one, two, three].map(|hash| teacher.knows(hash)), [true, true, false]);
    }
}
