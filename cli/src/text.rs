//! Numbers, paths and snippets as people like to read them.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use terminal_size::Width;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longer lines are hard to read, however wide the terminal.
const MAX_COLUMNS: usize = 100;

/// Columns of a terminal that does not say, or of a pipe.
const DEFAULT_COLUMNS: usize = 80;

/// Columns to fold text to.
pub(crate) fn columns() -> usize {
    let terminal = terminal_size::terminal_size().map(|(Width(columns), _)| usize::from(columns));
    terminal.unwrap_or(DEFAULT_COLUMNS).clamp(20, MAX_COLUMNS)
}

/// The text on one line, without characters that a terminal would obey: a file must not be able to
/// repaint the screen of who searches it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// As [`printable`], but lines stay lines.
pub(crate) fn printable_lines(text: &str) -> String {
    let keep = |c: char| matches!(c, '\n' | '\t');
    text.chars().map(|c| if is_obeyed(c) && !keep(c) { ' ' } else { c }).collect()
}

/// Control characters, and those that turn the direction of writing.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first lines of a text, folded between words to this many columns.
pub(crate) fn snippet(text: &str, columns: usize, n_lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut words = text.split_whitespace().map(printable);
    let mut line = String::new();
    let mut next = words.next();
    while let Some(word) = next {
        let gap = usize::from(!line.is_empty());
        if line.width() + gap + word.width() <= columns {
            line.push_str(&" "[..gap]);
            line.push_str(&word);
            next = words.next();
            continue;
        }
        // A word that no line holds is cut.
        let mut rest = word;
        if line.is_empty() {
            let end = fitting(&rest, columns);
            line = rest[..end].to_owned();
            rest = rest[end..].to_owned();
        }
        if lines.len() + 1 == n_lines_max {
            lines.push(with_dots(line, columns));
            return lines;
        }
        lines.push(std::mem::take(&mut line));
        next = if rest.is_empty() { words.next() } else { Some(rest) };
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Where to cut a text so that it takes at most this many columns; at least one character.
fn fitting(text: &str, columns: usize) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns && at > 0 {
            return at;
        }
    }
    text.len()
}

fn with_dots(mut line: String, columns: usize) -> String {
    while line.width() + 4 > columns {
        match line.rfind(' ') {
            Some(at) => line.truncate(at),
            None => line.truncate(fitting(&line, columns.saturating_sub(4))),
        }
        if !line.contains(' ') {
            break;
        }
    }
    line + " ..."
}

/// The text, cut to this many columns.
pub(crate) fn shortened(text: &str, columns: usize) -> String {
    let text = printable(text);
    if text.width() <= columns {
        return text;
    }
    let end = fitting(&text, columns.saturating_sub(3));
    format!("{}...", &text[..end])
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and its noun, in the plural where it needs one.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Bytes in units that people know.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit_idx = 0;
    while value >= 1024.0 && unit_idx + 1 < UNITS.len() {
        value /= 1024.0;
        unit_idx += 1;
    }
    format!("{value:.1} {}", UNITS[unit_idx])
}

/// Seconds in units that people know.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        0..100 => format!("{whole} s"),
        100..6000 => format!("{} min", (whole + 30) / 60),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// How long ago something was, by two clocks that need not agree.
pub(crate) fn ago(then: SystemTime, now: SystemTime) -> String {
    match now.duration_since(then) {
        Ok(age) if age < LONGEST_AGE => format!("{} ago", duration(age.as_secs_f64())),
        Err(ahead) if ahead.duration() < CLOCKS_DIFFER => format!("{} ago", duration(0.0)),
        _ => "at an unknown time (a clock was set)".to_owned(),
    }
}

/// Nothing that is told is older than this.
const LONGEST_AGE: Duration = Duration::from_secs(366 * 24 * 3600);
/// Clocks of machines that share a disk differ by less.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// The path as seen from the current folder, where that is shorter.
pub(crate) fn relative(path: &str) -> String {
    let Ok(here) = std::env::current_dir() else { return printable(path) };
    let below = Path::new(path).strip_prefix(here).ok().filter(|rest| !rest.as_os_str().is_empty());
    printable(&below.map_or_else(|| path.to_owned(), |rest| rest.display().to_string()))
}

/// The path from the root, without `.` and `..`, whether or not there is anything.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    if let Ok(known) = path.canonicalize() {
        return known;
    }
    // The folder may be there though the file is gone.
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if let Ok(folder) = folder.canonicalize() {
            return folder.join(name);
        }
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_never_negative_or_absurd() {
        let now = SystemTime::now();
        let seconds = Duration::from_secs;
        let ten_years = seconds(3650 * 24 * 3600);
        assert_eq!(ago(now - seconds(5), now), "5.0 s ago");
        assert_eq!(ago(now - seconds(7200), now), "2.0 h ago");
        assert_eq!(ago(now + seconds(1), now), "0.0 s ago");
        for then in [now - ten_years, now + ten_years, now + seconds(60), SystemTime::UNIX_EPOCH] {
            assert_eq!(ago(then, now), "at an unknown time (a clock was set)");
        }
    }
}
