//! Reads a text file line by line, and says in which line a problem was; a name that ends in `.gz` is one
//! that was packed by gzip.
//!
//! Evaluation files are data from elsewhere: a byte order mark, Windows line ends and empty lines
//! are passed over, bytes that are not UTF-8 are an error.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Calls `read` with the number (from 1) and the text of each line that is not empty.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::File`] for bytes that are not text and for
/// what `read` found wrong.
pub(crate) fn for_each(
    path: &Path,
    doing: &'static str,
    mut read: impl FnMut(u64, &str) -> Result<(), String>,
) -> Result<()> {
    let refused = |source| Error::Io { doing, path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(refused)?);
    let mut reader: Box<dyn BufRead> = match path.extension().is_some_and(|ending| ending == "gz") {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(file),
    };
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(refused)? == 0 {
            break;
        }
        let at_fault = |problem| problem_in(path, Some(line), problem);
        let text = str::from_utf8(&bytes)
            .map_err(|_| at_fault("not UTF-8; save the file as UTF-8 text".to_owned()))?;
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            read(line, text).map_err(at_fault)?;
        }
    }
    Ok(())
}

/// A data file that is not what it should be.
pub(crate) fn problem_in(path: &Path, line: Option<u64>, problem: String) -> Error {
    Error::File { path: path.to_owned(), line, problem }
}

/// The JSON value of a line.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    // The message counts lines within the one line it was given: only the column is right.
    serde_json::from_str(text).map_err(|e| {
        let message = e.to_string();
        match message.rsplit_once(" at line ") {
            Some((message, _)) => format!("{message} at column {}", e.column()),
            None => message,
        }
    })
}

/// The three fields of a line of tab-separated values.
pub(crate) fn three_fields(text: &str) -> Result<[&str; 3], String> {
    let fields: Vec<&str> = text.split('\t').collect();
    <[&str; 3]>::try_from(fields)
        .map_err(|fields| format!("{} fields between tabs, expected 3", fields.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u64, String)>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Vec::new();
        for_each(&path, "read the lines", |line, text| {
            lines.push((line, text.to_owned()));
            if text == "bad" { Err("found bad".to_owned()) } else { Ok(()) }
        })?;
        Ok(lines)
    }

    #[test]
    fn marks_line_ends_and_empty_lines_are_passed_over() {
        let lines = read(b"\xef\xbb\xbfone\r\n\n\r\n four \nlast").unwrap();
        let expected = [(1, "one"), (4, " four "), (5, "last")];
        assert_eq!(lines, expected.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(read(b"").unwrap(), []);
    }

    #[test]
    fn a_problem_names_file_and_line() {
        let message = read(b"good\n\nbad\n").unwrap_err().to_string();
        assert!(message.ends_with("lines.txt, line 3: found bad"), "{message}");
        let message = read(b"good\n\xff\n").unwrap_err().to_string();
        assert!(message.contains("line 2: not UTF-8"), "{message}");
    }

    #[test]
    fn a_packed_file_is_unpacked_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.txt.gz");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"one\n\ntwo\n").unwrap();
        let packed = packed.finish().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut lines = Vec::new();
            for_each(&path, "read the lines", |line, text| {
                lines.push((line, text.to_owned()));
                Ok(())
            })?;
            Ok::<_, Error>(lines)
        };
        assert_eq!(read(&packed).unwrap(), [(1, "one".to_owned()), (3, "two".to_owned())]);
        assert!(read(&packed[..packed.len() - 9]).is_err());
        assert!(read(b"one\ntwo\n").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let path = Path::new("no/such/file.tsv");
        let error = for_each(path, "read the pairs", |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().starts_with("could not read the pairs no/such/file.tsv: "));
    }

    #[test]
    fn three_fields_are_three() {
        assert_eq!(three_fields("a\t\tc"), Ok(["a", "", "c"]));
        assert_eq!(three_fields("a\tb"), Err("2 fields between tabs, expected 3".to_owned()));
    }
}
