//! A row of the table: what was measured, of what, and how sure it is.

use gemmule::engine::eval::measure::Retrieval;

use super::sample::{Difference, Sample};
use crate::args::{Quant, Through};

/// How vectors were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) dims: usize,
    pub(super) quant: &'static str,
    /// Of the model's arithmetic.
    pub(super) precision: &'static str,
    pub(super) through: &'static str,
}

impl Way {
    /// A comparison of all coded vectors.
    pub(super) fn exact(dims: usize, quant: Quant, precision: &'static str) -> Way {
        Way { dims, quant: name(quant), precision, through: "exact" }
    }

    /// A search in a database with codes of this kind.
    pub(super) fn through(
        through: Through,
        dims: usize,
        quant: Quant,
        precision: &'static str,
    ) -> Way {
        let (through, quant) = match through {
            Through::Exact => ("exact", name(quant)),
            Through::Ann => ("ann", name(quant)),
            Through::Text => ("text", "none"),
            Through::Hybrid => ("hybrid", name(quant)),
        };
        Way { dims, quant, precision, through }
    }
}

fn name(quant: Quant) -> &'static str {
    match quant {
        Quant::F32 => "f32",
        Quant::Int8 => "int8",
        Quant::Binary => "binary",
    }
}

/// One way to compare the vectors of one set, or of several together.
pub(super) struct Row {
    pub(super) set: String,
    /// How many sets it is the mean of.
    pub(super) n_sets: usize,
    pub(super) way: Way,
    pub(super) measured: Measured,
    /// What the first measure is made of.
    pub(super) sample: Sample,
    /// Texts that were cut.
    pub(super) n_cut: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Measured {
    Retrieval(Retrieval),
    /// None where all similarities are the same.
    Spearman(Option<f64>),
    Classes {
        accuracy: f64,
        macro_f1: f64,
    },
    VMeasure(f64),
}

/// The name of each measure in a table and in JSON, in the order of [`Measured::numbers`].
pub(super) const MEASURES: [(&str, &str); 8] = [
    ("ndcg@10", "ndcg10"),
    ("recall@10", "recall10"),
    ("recall@100", "recall100"),
    ("mrr@10", "mrr10"),
    ("spearman", "spearman"),
    ("accuracy", "accuracy"),
    ("macro f1", "macro_f1"),
    ("v-measure", "v_measure"),
];

impl Measured {
    pub(super) fn numbers(&self) -> [Option<f64>; MEASURES.len()] {
        let mut numbers = [None; MEASURES.len()];
        match self {
            Measured::Retrieval(r) => {
                let all = [r.ndcg10, r.recall10, r.recall100, r.mrr10];
                numbers[..4].copy_from_slice(&all.map(Some));
            }
            Measured::Spearman(value) => numbers[4] = *value,
            Measured::Classes { accuracy, macro_f1 } => {
                numbers[5..7].copy_from_slice(&[Some(*accuracy), Some(*macro_f1)]);
            }
            Measured::VMeasure(value) => numbers[7] = Some(*value),
        }
        numbers
    }

    /// The measure that intervals and comparisons speak of, by its place in [`MEASURES`].
    pub(super) fn first(&self) -> usize {
        match self {
            Measured::Retrieval(_) => 0,
            Measured::Spearman(_) => 4,
            Measured::Classes { .. } => 5,
            Measured::VMeasure(_) => 7,
        }
    }
}

impl Row {
    /// The bounds of the first measure; none where it has no value.
    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        self.measured.numbers()[self.measured.first()]?;
        Some(self.sample.interval())
    }

    /// How the first measure differs from that of another model on the same set.
    pub(super) fn against(&self, other: &Row) -> Option<Difference> {
        let first = |row: &Row| row.measured.numbers()[row.measured.first()];
        let difference = first(self)? - first(other)?;
        Some(self.sample.against(&other.sample, difference))
    }
}

/// For each way that several retrieval sets were searched, the mean of their measures: each set counts
/// the same, however many queries it has.
pub(super) fn means(rows: &[Row]) -> Vec<Row> {
    let mut ways: Vec<Way> = Vec::new();
    rows.iter().for_each(|row| {
        if !ways.contains(&row.way) {
            ways.push(row.way);
        }
    });
    let mean = |way: Way| {
        let mut measured = Vec::new();
        let mut values = Vec::new();
        let mut n_cut = 0;
        for row in rows.iter().filter(|row| row.way == way) {
            if let (Measured::Retrieval(retrieval), Sample::Means(sets)) =
                (row.measured, &row.sample)
            {
                measured.push(retrieval);
                values.extend(sets.iter().cloned());
                n_cut += row.n_cut;
            }
        }
        let n_sets = measured.len();
        (n_sets > 1).then(|| Row {
            set: "mean".to_owned(),
            n_sets,
            way,
            measured: Measured::Retrieval(Retrieval::mean(&measured)),
            sample: Sample::Means(values),
            n_cut,
        })
    };
    ways.into_iter().filter_map(mean).collect()
}
