//! `gemmule embed`: lines of text in, vectors out.
//!
//! Texts are embedded as they come, in batches: a batch ends when it is large, or when no further
//! whole line is at hand, so that a program can ask and wait for each answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, StdinLock, Write};

use anyhow::{Context, bail};
use gemmule::Embedder;
use gemmule::engine::{Tokens, npy};

use crate::args::{Embed, VectorFormat};
use crate::output::{Output, Usage};
use crate::{Done, text, vector};

/// Texts in a batch: enough to group them by length.
const BATCH_TEXTS: usize = 256;

/// Bytes that are read ahead.
const READ_BYTES: usize = 1 << 20;

/// The only task that has titles.
const DOCUMENT: &str = "document";

pub(crate) fn run(flags: &Embed, output: &mut Output) -> anyhow::Result<Done> {
    if flags.title.is_some() && flags.task != DOCUMENT {
        bail!(Usage(format!("--title goes with --task {DOCUMENT}, not with '{}'", flags.task)));
    }
    if flags.format == VectorFormat::Npy && flags.output.is_none() && output.is_terminal {
        bail!(Usage("an npy file is not for a terminal: name a file with -o FILE".to_owned()));
    }
    let mut embedder = Embedder::open_in(&flags.model, flags.precision.map(Into::into))?;
    if let Some(n_bytes) = flags.memory {
        embedder.limit_memory(n_bytes);
    }
    let dims = embedder.width(flags.dims)?;
    let prompt = match &flags.title {
        Some(title) => embedder.document_prompt(Some(title))?,
        None => embedder.prompt(&flags.task)?.to_owned(),
    };
    let n_cut = match &flags.output {
        None => write(&embedder, &prompt, dims, flags, output.stdout())?,
        Some(path) => {
            let doing = || format!("could not write {}", path.display());
            let mut file = BufWriter::new(File::create(path).with_context(doing)?);
            let n_cut = write(&embedder, &prompt, dims, flags, &mut file)?;
            file.flush().with_context(doing)?;
            n_cut
        }
    };
    output.flush()?;
    if n_cut > 0 {
        output.note(format_args!(
            "{} cut to the model's window of {} tokens",
            text::counted(n_cut, "text"),
            text::grouped(embedder.package().window)
        ));
    }
    Ok(Done::Whole)
}

/// Embeds all of standard input; returns how many texts were truncated.
fn write(
    embedder: &Embedder,
    prompt: &str,
    dims: usize,
    flags: &Embed,
    out: &mut impl Write,
) -> anyhow::Result<usize> {
    let mut lines = Lines::new();
    // The number of rows stands at the head of the file: all of them are needed first.
    let mut rows = Vec::new();
    let mut n_cut = 0;
    loop {
        let batch = lines.next_batch()?;
        if batch.is_empty() {
            break;
        }
        let mut texts = Vec::with_capacity(batch.len());
        for (number, line) in batch {
            texts.push(
                tokenize(embedder, prompt, &line, flags.truncate)
                    .with_context(|| format!("line {number} of standard input"))?,
            );
        }
        n_cut += texts.iter().filter(|text| text.n_dropped > 0).count();
        let vectors = embedder.embed(&texts, |_, _| true)?;
        let vectors = vectors.iter().map(|full| vector::cut(full, dims));
        match flags.format {
            VectorFormat::Npy => rows.extend(vectors),
            VectorFormat::Json => {
                for vector in vectors {
                    serde_json::to_writer(&mut *out, &vector).map_err(io::Error::from)?;
                    out.write_all(b"\n")?;
                }
                out.flush()?;
            }
        }
    }
    if flags.format == VectorFormat::Npy {
        npy::write(out, &rows, dims)?;
    }
    Ok(n_cut)
}

fn tokenize(
    embedder: &Embedder,
    prompt: &str,
    line: &str,
    truncate: bool,
) -> Result<Tokens, gemmule::engine::Error> {
    match truncate {
        true => embedder.tokenize_truncated(prompt, line),
        false => embedder.tokenize(prompt, line),
    }
}

/// Standard input, line by line, with line numbers from 1.
struct Lines {
    stdin: BufReader<StdinLock<'static>>,
    n_read: usize,
}

impl Lines {
    fn new() -> Lines {
        if io::stdin().is_terminal() {
            crate::output::say("one text a line, please; Ctrl-D ends");
        }
        Lines { stdin: BufReader::with_capacity(READ_BYTES, io::stdin().lock()), n_read: 0 }
    }

    /// The lines that are at hand, at least one; none at the end.
    fn next_batch(&mut self) -> anyhow::Result<Vec<(usize, String)>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_TEXTS && (batch.is_empty() || self.has_whole_line()) {
            let mut bytes = Vec::new();
            let n_bytes = self.stdin.read_until(b'\n', &mut bytes);
            if n_bytes.context("could not read standard input")? == 0 {
                break;
            }
            self.n_read += 1;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
                bytes.pop_if(|byte| *byte == b'\r');
            }
            let number = self.n_read;
            let Ok(line) = String::from_utf8(bytes) else {
                bail!("line {number} of standard input is not UTF-8; convert it first (iconv can)");
            };
            batch.push((number, line));
        }
        Ok(batch)
    }

    fn has_whole_line(&self) -> bool {
        self.stdin.buffer().contains(&b'\n')
    }
}
