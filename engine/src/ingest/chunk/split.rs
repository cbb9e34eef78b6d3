//! Cuts a unit into runs that are short enough: the treap.
//!
//! A run that is too long is cut at the boundary of the highest priority, then both sides likewise.
//! A boundary that would leave little on one side may be taken only if it is of a better class than
//! any that leaves more. That rule looks at the run's ends, but only across less than half a chunk, so
//! that the treap stays local.
//!
//! Finer boundaries are looked for only in runs where coarser ones do not serve, and then for the whole
//! run at once, so that each byte is scanned at most once a level. The highest priority in a range is
//! found in a tournament tree, in logarithmic time.

use std::ops::{Range, RangeInclusive};

use super::boundary::{Boundary, Class, LineRule, Scan};
use super::section::Unit;
use super::tokens::TokenStarts;
use crate::error::Result;
use crate::ingest::extract::{Extracted, Kind, MarkKind};
use crate::package::Tokenizer;

/// The levels of detail at which boundaries are looked for.
const LEVELS: [Class; 4] = [Class::Wrap, Class::Word, Class::Grapheme, Class::Char];

/// The least that a cut should leave on either side, in eighths of the limit, most wanted first.
///
/// Measured over 3,000 to 4,000 edits of one paragraph, each word counted as two tokens, at limits of
/// 256 and 512: share of edits with at most three new chunks, then mean size as a share of the limit.
/// `[3, 2, 1]`: 0.996, 0.996; 0.66, 0.64. `[2, 1]`: 0.997, 0.999; 0.64, 0.60. `[4, 2, 1]`, with the
/// last cut of a run bound to leave two chunks: 0.991, 0.979; 0.68, 0.71.
const LEAST_EIGHTHS: [usize; 3] = [3, 2, 1];

/// Indentation of a chunk's first line is kept up to this many bytes: more is not indentation.
const INDENT_BYTES: usize = 64;

/// Tokens that the plan leaves free, since the first word of a chunk may need more tokens without the
/// space before it. At most an eighth of the limit.
const SPARE_TOKENS: usize = 2;

/// A finished part of a unit.
pub(super) struct Piece {
    /// Without the white space around it.
    pub(super) range: Range<usize>,
    /// Counted exactly.
    pub(super) n_tokens: usize,
}

/// Cuts the units of one text.
pub(super) struct Splitter<'a> {
    text: &'a str,
    blocks: Vec<usize>,
    line_rule: LineRule,
    tokenizer: &'a Tokenizer,
    starts: &'a TokenStarts,
    /// Most tokens of a piece.
    most: usize,
}

impl<'a> Splitter<'a> {
    /// Pieces get at most `most` tokens.
    pub(super) fn new(
        extracted: &'a Extracted,
        tokenizer: &'a Tokenizer,
        starts: &'a TokenStarts,
        most: usize,
    ) -> Self {
        let blocks = extracted.marks.iter().filter(|mark| mark.kind == MarkKind::Block);
        let line_rule = match extracted.kind {
            Kind::Code
            | Kind::Json
            | Kind::JsonLines
            | Kind::Notebook
            | Kind::Xml
            | Kind::Table => LineRule::Always,
            _ => LineRule::Prose,
        };
        Splitter {
            text: &extracted.text,
            blocks: blocks.map(|mark| mark.offset).collect(),
            line_rule,
            tokenizer,
            starts,
            most,
        }
    }

    /// The pieces of a unit, in order.
    pub(super) fn split(&self, unit: &Unit) -> Result<Vec<Piece>> {
        let marked = self.marked(unit);
        let scan = Scan {
            text: self.text,
            unit_end: unit.range.end,
            marked: &marked,
            line_rule: self.line_rule,
        };
        let plan = self.most - SPARE_TOKENS.min(self.most / 8);
        let mut pieces = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        // Each run with the field it is cut by, if there is one yet; the last is the leftmost.
        let mut runs = vec![(unit.range.clone(), None::<usize>)];
        while let Some((range, field)) = runs.pop() {
            let range = trim(self.text, range);
            if range.is_empty() {
                continue;
            }
            let planned = self.starts.count(&range);
            if planned <= plan {
                let n_tokens = self.count(&range)?;
                if n_tokens <= self.most {
                    pieces.push(Piece { range, n_tokens });
                    continue;
                }
            }
            // A run that was planned to fit and does not is planned a token smaller.
            let limit = plan.min(planned.saturating_sub(1)).max(1);
            if let Some(idx) = field
                && let Some(offset) = fields[idx].cut(&range, self.starts, limit)
            {
                runs.push((offset..range.end, field));
                runs.push((range.start..offset, field));
                continue;
            }
            let level = field.map_or(0, |field| fields[field].level + 1);
            if level < LEVELS.len() {
                let boundaries = scan.boundaries(&range, LEVELS[level]);
                fields.push(Field::new(level, boundaries, self.starts));
                runs.push((range, Some(fields.len() - 1)));
                continue;
            }
            // A single character: there is nothing left to cut.
            let n_tokens = self.count(&range)?;
            pieces.push(Piece { range, n_tokens });
        }
        Ok(pieces)
    }

    /// The tokens of a range as a text of its own.
    fn count(&self, range: &Range<usize>) -> Result<usize> {
        self.tokenizer.count(&self.text[range.clone()])
    }

    /// The starts of a unit's sections and blocks, ascending.
    fn marked(&self, unit: &Unit) -> Vec<(usize, Class)> {
        let first = self.blocks.partition_point(|&offset| offset < unit.range.start);
        let end = self.blocks.partition_point(|&offset| offset < unit.range.end);
        let blocks = self.blocks[first..end].iter().map(|&offset| (offset, Class::Block));
        let sections = unit.inner_starts().map(|offset| (offset, Class::Section));
        let mut marked: Vec<_> = blocks.chain(sections).collect();
        marked.sort_unstable();
        marked
    }
}

/// The boundaries of a range at one level of detail, ready to be asked for the best.
struct Field {
    level: usize,
    boundaries: Vec<Boundary>,
    /// Tokens of the text before each boundary, ascending.
    before: Vec<usize>,
    /// A tournament: node `i` holds the winner of nodes `2i` and `2i + 1`; the leaves, which begin at
    /// `boundaries.len()`, are the boundaries themselves.
    winners: Vec<u32>,
}

impl Field {
    fn new(level: usize, boundaries: Vec<Boundary>, starts: &TokenStarts) -> Self {
        let n = boundaries.len();
        let before = boundaries.iter().map(|boundary| starts.before(boundary.offset)).collect();
        let mut field = Field { level, boundaries, before, winners: vec![0; 2 * n] };
        for idx in 0..n {
            field.winners[n + idx] = idx as u32;
        }
        for node in (1..n).rev() {
            field.winners[node] =
                field.better(field.winners[2 * node], field.winners[2 * node + 1]);
        }
        field
    }

    /// The better of two boundaries; of equals, the later.
    fn better(&self, a: u32, b: u32) -> u32 {
        let rank = |idx: u32| (self.boundaries[idx as usize].priority, idx);
        if rank(a) > rank(b) { a } else { b }
    }

    /// The best boundary of a range of them; of equals, the last.
    fn best(&self, range: Range<usize>) -> Option<usize> {
        let n = self.boundaries.len();
        let (mut from, mut to) = (range.start + n, range.end + n);
        let mut winner: Option<u32> = None;
        let mut challenge = |node: usize| {
            let challenger = self.winners[node];
            winner = Some(winner.map_or(challenger, |holder| self.better(holder, challenger)));
        };
        while from < to {
            if from % 2 == 1 {
                challenge(from);
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                challenge(to);
            }
            from /= 2;
            to /= 2;
        }
        winner.map(|idx| idx as usize)
    }

    /// Where to cut a run whose parts shall in the end have at most `limit` tokens, if this level of
    /// detail has a good place for it. The last level has one wherever there are two characters.
    fn cut(&self, run: &Range<usize>, starts: &TokenStarts, limit: usize) -> Option<usize> {
        let first = self.boundaries.partition_point(|boundary| boundary.offset <= run.start);
        let end = self.boundaries.partition_point(|boundary| boundary.offset < run.end);
        let inside = first..end;
        let (start, stop) = (starts.before(run.start), starts.before(run.end));
        let mut chosen: Option<&Boundary> = None;
        for eighths in LEAST_EIGHTHS {
            let least = (limit * eighths / 8).max(1);
            if start + least > stop.saturating_sub(least) {
                continue;
            }
            let found = self.pick(&inside, start + least..=stop - least, start, limit);
            if let Some(found) = found
                && chosen.is_none_or(|chosen| found.class > chosen.class)
            {
                chosen = Some(found);
            }
        }
        if chosen.is_none() && self.level + 1 == LEVELS.len() {
            chosen = self.best(inside).map(|idx| &self.boundaries[idx]);
        }
        chosen.map(|boundary| boundary.offset)
    }

    /// The best boundary with so many tokens before it. Equals (text that repeats itself) say nothing
    /// about where to cut, so that the one is taken which leaves a full chunk on its left.
    fn pick(
        &self,
        inside: &Range<usize>,
        before: RangeInclusive<usize>,
        start: usize,
        limit: usize,
    ) -> Option<&Boundary> {
        let first = self.before.partition_point(|n| n < before.start()).max(inside.start);
        let end = self.before.partition_point(|n| n <= before.end()).min(inside.end);
        if first >= end {
            return None;
        }
        let best = self.best(first..end)?;
        let full = self.before.partition_point(|&n| n <= start + limit).clamp(first, end);
        let equal = self
            .best(first..full)
            .filter(|&idx| self.boundaries[idx].priority == self.boundaries[best].priority);
        Some(&self.boundaries[equal.unwrap_or(best)])
    }
}

/// A range without white space at its end, nor at its start but for the indentation of its first line.
fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let run = &text[range.clone()];
    let rest = run.trim_start();
    let end = range.start + run.trim_end().len();
    let indent_end = range.end - rest.len();
    if rest.is_empty() {
        return range.start..range.start;
    }
    let line_start = run[..run.len() - rest.len()].rfind('\n').map(|at| range.start + at + 1);
    let begins_line = range.start == 0 || text.as_bytes()[range.start - 1] == b'\n';
    let start = match line_start {
        Some(start) => start,
        None if begins_line => range.start,
        None => indent_end,
    };
    if indent_end - start > INDENT_BYTES { indent_end..end } else { start..end }
}
