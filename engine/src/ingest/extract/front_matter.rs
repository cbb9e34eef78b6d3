//! What a Markdown file says about itself above its text: YAML between `---`, TOML between `+++`.
//!
//! Scalars, lists of scalars and YAML's folded texts are read; anything deeper (a mapping inside a
//! mapping, a TOML table) keeps its source as one string under its outermost key, so nothing is lost
//! and no full YAML reader, with its aliases that grow without bound, is let near a stranger's file.

use serde_json::{Map, Value};

/// Splits front matter off: what it says, and the byte offset at which the text begins.
pub(super) fn split(text: &str) -> (Map<String, Value>, usize) {
    for (fence, separator) in [("---", ':'), ("+++", '=')] {
        if let Some((inside, body)) = between(text, fence) {
            let meta = parse(inside, separator);
            // `---` alone is also a line across the page: what follows must look like front matter.
            if !meta.is_empty() || inside.trim().is_empty() {
                return (meta, body);
            }
        }
    }
    (Map::new(), 0)
}

/// The lines between two fences at the top of a text, and where the rest begins.
fn between<'a>(text: &'a str, fence: &str) -> Option<(&'a str, usize)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    if first.trim_end() != fence {
        return None;
    }
    let start = first.len();
    let mut end = start;
    for line in lines {
        let closing = line.trim_end();
        if closing == fence || (fence == "---" && closing == "...") {
            return Some((&text[start..end], end + line.len()));
        }
        end += line.len();
    }
    None
}

/// Reads `key: value` or `key = value` lines; deeper lines belong to the key above them.
fn parse(source: &str, separator: char) -> Map<String, Value> {
    let mut meta = Map::new();
    let mut entry: Option<(String, Vec<&str>)> = None;
    let (mut n_open, mut in_table) = (0, false);
    for line in source.lines() {
        let deeper = line.starts_with([' ', '\t']) || line.starts_with("- ") || line == "-";
        let head = if deeper || n_open > 0 || in_table { None } else { key_of(line, separator) };
        if let Some((key, rest)) = head {
            store(&mut meta, entry.take(), separator);
            n_open = open_brackets(rest);
            entry = Some((key, vec![rest]));
        } else if separator == '=' && line.starts_with('[') && n_open == 0 {
            store(&mut meta, entry.take(), separator);
            in_table = true;
            let table = line.trim().trim_matches(['[', ']']).to_owned();
            entry = Some((table, vec![""]));
        } else if let Some((_, lines)) = &mut entry {
            n_open = (n_open + open_brackets(line)).max(0);
            lines.push(line);
        }
    }
    store(&mut meta, entry, separator);
    meta
}

/// The key at the start of a line, and what follows the separator.
fn key_of(line: &str, separator: char) -> Option<(String, &str)> {
    if line.starts_with('#') || line.trim().is_empty() {
        return None;
    }
    let (key, rest) = line.split_once(separator)?;
    let key = key.trim();
    let key = unquoted(key).unwrap_or_else(|| key.to_owned());
    let plain = !key.is_empty() && !key.contains(['{', '}', '<', '>', '|', '"']) && key.len() <= 80;
    let spaced = separator == '=' || rest.is_empty() || rest.starts_with([' ', '\t']);
    (plain && spaced).then(|| (key, rest.trim()))
}

fn open_brackets(line: &str) -> i64 {
    if unquoted(line).is_some() {
        return 0;
    }
    let opens = line.matches('[').count() as i64;
    opens - line.matches(']').count() as i64
}

fn store(meta: &mut Map<String, Value>, entry: Option<(String, Vec<&str>)>, separator: char) {
    let Some((key, lines)) = entry else { return };
    if key.is_empty() {
        return;
    }
    let value = match separator {
        ':' => yaml(&lines),
        _ => toml(&lines),
    };
    meta.insert(key, value);
}

fn yaml(lines: &[&str]) -> Value {
    let Some((first, rest)) = lines.split_first() else { return Value::Null };
    let first = without_comment(first);
    let inner: Vec<&str> =
        rest.iter().copied().filter(|line| !line.trim_start().starts_with('#')).collect();
    if first.starts_with(['|', '>']) && first.len() <= 2 {
        let joint = if first.starts_with('|') { "\n" } else { " " };
        let texts: Vec<&str> = inner.iter().map(|line| line.trim()).collect();
        return Value::from(texts.join(joint).trim().to_owned());
    }
    let items: Option<Vec<Value>> =
        inner.iter().filter(|line| !line.trim().is_empty()).map(|line| list_item(line)).collect();
    match items {
        Some(items) if items.is_empty() => scalar_or_list(first),
        Some(items) if first.is_empty() => Value::Array(items),
        _ if first.is_empty() => Value::from(inner.join("\n")),
        // A plain scalar that goes on in the next lines, or a flow list over several lines.
        _ => {
            let whole: Vec<&str> =
                std::iter::once(first).chain(inner.iter().map(|line| line.trim())).collect();
            scalar_or_list(whole.join(" ").trim())
        }
    }
}

/// A `- scalar` line.
fn list_item(line: &str) -> Option<Value> {
    let item = without_comment(line.trim().strip_prefix('-')?.trim());
    let nested = unquoted(item).is_none() && (item.contains(": ") || item.ends_with(':'));
    (!nested).then(|| scalar(item))
}

fn toml(lines: &[&str]) -> Value {
    let joined: Vec<&str> = lines.iter().map(|line| without_comment(line.trim())).collect();
    match joined.first().is_some_and(|first| first.is_empty()) {
        true => Value::from(lines.join("\n").trim().to_owned()),
        false => scalar_or_list(joined.join(" ").trim()),
    }
}

fn scalar_or_list(text: &str) -> Value {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inside {
        Some(inside) if !inside.contains(['[', '{']) => {
            let items = split_outside_quotes(inside);
            Value::Array(items.into_iter().map(|item| scalar(item.trim())).collect())
        }
        _ => scalar(text),
    }
}

fn split_outside_quotes(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut quote) = (0, None);
    for (offset, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == ',' => {
                items.push(&text[start..offset]);
                start = offset + 1;
            }
            None => {}
        }
    }
    items.push(&text[start..]);
    items.retain(|item| !item.trim().is_empty());
    items
}

fn scalar(text: &str) -> Value {
    if let Some(text) = unquoted(text) {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" => return Value::Null,
        "true" | "True" => return Value::Bool(true),
        "false" | "False" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return Value::from(number);
    }
    let is_decimal =
        text.contains('.') && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if is_decimal => Value::from(number),
        _ => Value::from(text),
    }
}

/// The text inside quotes, if all of it is inside one pair.
fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
    match quote {
        '"' => serde_json::from_str(text)
            .ok()
            .or_else(|| (!inside.contains('"')).then(|| inside.to_owned())),
        _ => (!inside.replace("''", "").contains('\'')).then(|| inside.replace("''", "'")),
    }
}

fn without_comment(text: &str) -> &str {
    if text.starts_with(['"', '\'', '[']) {
        return text.trim();
    }
    match text.find(" #") {
        Some(offset) => text[..offset].trim(),
        None => text.trim(),
    }
}
