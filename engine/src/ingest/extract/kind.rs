//! What kind of file it is: by its first bytes where they are sure, else by its name.
//!
//! An ending that we know and cannot read is skipped by name, before anything tries to see text in it.
//! A name that says nothing leaves the content to decide; what is left then is plain text, or no text.

use std::path::Path;

use super::{Failure, Kind};

/// A kind, with the language of source code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) kind: Kind,
    pub(super) language: Option<&'static str>,
}

impl Route {
    const fn new(kind: Kind) -> Route {
        Route { kind, language: None }
    }

    const fn code(language: &'static str) -> Route {
        Route { kind: Kind::Code, language: Some(language) }
    }
}

/// Endings without a dot, lower case, of formats that hold no text for us or no text we can reach.
const UNREADABLE: &[&str] = &[
    "7z",
    "a",
    "aac",
    "ai",
    "apk",
    "avi",
    "avif",
    "bin",
    "bmp",
    "bz2",
    "class",
    "db",
    "deb",
    "dll",
    "dmg",
    "doc",
    "dylib",
    "eot",
    "exe",
    "fig",
    "flac",
    "gguf",
    "gif",
    "gz",
    "heic",
    "ico",
    "iso",
    "jar",
    "jpeg",
    "jpg",
    "key",
    "lz4",
    "m4a",
    "mkv",
    "mov",
    "mp3",
    "mp4",
    "mpeg",
    "msg",
    "npy",
    "npz",
    "numbers",
    "o",
    "obj",
    "odp",
    "ods",
    "odt",
    "ogg",
    "onnx",
    "otf",
    "pages",
    "parquet",
    "pdb",
    "pickle",
    "pkl",
    "png",
    "ppt",
    "psd",
    "pt",
    "pth",
    "pyc",
    "rar",
    "rlib",
    "rpm",
    "safetensors",
    "so",
    "sqlite",
    "sqlite3",
    "tar",
    "tgz",
    "tif",
    "tiff",
    "ttf",
    "wasm",
    "wav",
    "webm",
    "webp",
    "woff",
    "woff2",
    "xls",
    "xlsb",
    "xlsx",
    "xz",
    "zip",
    "zst",
];

/// Endings of source code and configuration, with the language's name.
const LANGUAGES: &[(&str, &str)] = &[
    ("asm", "assembly"),
    ("awk", "awk"),
    ("bash", "shell"),
    ("bat", "batch"),
    ("bzl", "starlark"),
    ("c", "c"),
    ("cc", "c++"),
    ("cfg", "ini"),
    ("clj", "clojure"),
    ("cmake", "cmake"),
    ("conf", "configuration"),
    ("cpp", "c++"),
    ("cs", "c#"),
    ("css", "css"),
    ("cu", "cuda"),
    ("cxx", "c++"),
    ("dart", "dart"),
    ("diff", "diff"),
    ("el", "emacs lisp"),
    ("elm", "elm"),
    ("env", "configuration"),
    ("erl", "erlang"),
    ("ex", "elixir"),
    ("exs", "elixir"),
    ("f90", "fortran"),
    ("fish", "fish"),
    ("fs", "f#"),
    ("glsl", "glsl"),
    ("go", "go"),
    ("gradle", "groovy"),
    ("graphql", "graphql"),
    ("groovy", "groovy"),
    ("h", "c"),
    ("hcl", "hcl"),
    ("hpp", "c++"),
    ("hs", "haskell"),
    ("ini", "ini"),
    ("java", "java"),
    ("jl", "julia"),
    ("js", "javascript"),
    ("jsx", "javascript"),
    ("kt", "kotlin"),
    ("kts", "kotlin"),
    ("less", "less"),
    ("lisp", "lisp"),
    ("lua", "lua"),
    ("m", "objective-c"),
    ("mjs", "javascript"),
    ("ml", "ocaml"),
    ("mli", "ocaml"),
    ("nim", "nim"),
    ("nix", "nix"),
    ("patch", "diff"),
    ("php", "php"),
    ("pl", "perl"),
    ("pm", "perl"),
    ("properties", "properties"),
    ("proto", "protobuf"),
    ("ps1", "powershell"),
    ("py", "python"),
    ("pyi", "python"),
    ("r", "r"),
    ("rb", "ruby"),
    ("rs", "rust"),
    ("s", "assembly"),
    ("scala", "scala"),
    ("scm", "scheme"),
    ("scss", "scss"),
    ("sh", "shell"),
    ("sql", "sql"),
    ("sv", "systemverilog"),
    ("swift", "swift"),
    ("tcl", "tcl"),
    ("tex", "latex"),
    ("tf", "hcl"),
    ("thrift", "thrift"),
    ("toml", "toml"),
    ("ts", "typescript"),
    ("tsx", "typescript"),
    ("v", "verilog"),
    ("vhd", "vhdl"),
    ("vim", "vim"),
    ("vue", "vue"),
    ("yaml", "yaml"),
    ("yml", "yaml"),
    ("zig", "zig"),
    ("zsh", "shell"),
];

/// Whole names without a telling ending, lower case.
const NAMES: &[(&str, &str)] = &[
    ("cmakelists.txt", "cmake"),
    ("containerfile", "dockerfile"),
    ("dockerfile", "dockerfile"),
    ("gemfile", "ruby"),
    ("jenkinsfile", "groovy"),
    ("justfile", "just"),
    ("makefile", "make"),
    ("rakefile", "ruby"),
    ("vagrantfile", "ruby"),
];

/// Interpreters after `#!`, as the last part of the path, digits cut off.
const INTERPRETERS: &[(&str, &str)] = &[
    ("awk", "awk"),
    ("bash", "shell"),
    ("fish", "fish"),
    ("lua", "lua"),
    ("node", "javascript"),
    ("perl", "perl"),
    ("php", "php"),
    ("python", "python"),
    ("rscript", "r"),
    ("ruby", "ruby"),
    ("sh", "shell"),
    ("zsh", "shell"),
];

/// Decides what a file is.
pub(super) fn route(path: &Path, bytes: &[u8]) -> Result<Route, Failure> {
    let name = lower(path.file_name());
    let ending = lower(path.extension());
    if bytes.starts_with(b"%PDF-") || ending == "pdf" {
        return Ok(Route::new(Kind::Pdf));
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") && is_office(&ending) {
        // Office wraps an encrypted docx or pptx in the container of its older formats.
        return Err(Failure::Failed(format!(
            "encrypted, or an older Office format under the name .{ending}; \
             remove the password or save it as .{ending} again"
        )));
    }
    if let Some(kind) = by_ending(&ending) {
        return Ok(Route::new(kind));
    }
    if let Some((_, language)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(Route::code(language));
    }
    if let Some((_, language)) = LANGUAGES.iter().find(|(known, _)| *known == ending) {
        return Ok(Route::code(language));
    }
    if UNREADABLE.contains(&ending.as_str()) {
        return Err(Failure::Skipped(format!("no reader for .{ending} files")));
    }
    Ok(by_content(bytes))
}

fn is_office(ending: &str) -> bool {
    matches!(by_ending(ending), Some(Kind::Docx | Kind::Pptx))
}

fn by_ending(ending: &str) -> Option<Kind> {
    Some(match ending {
        "md" | "markdown" | "mdown" | "mkd" | "mdx" | "qmd" | "rmd" => Kind::Markdown,
        "rst" | "rest" => Kind::Rst,
        "txt" | "text" | "log" | "org" | "adoc" | "asciidoc" | "srt" | "vtt" => Kind::Plain,
        "html" | "htm" | "xhtml" | "xht" => Kind::Html,
        "docx" | "docm" | "dotx" => Kind::Docx,
        "pptx" | "pptm" | "ppsx" => Kind::Pptx,
        "epub" => Kind::Epub,
        "json" | "geojson" | "webmanifest" | "json5" | "jsonc" => Kind::Json,
        "jsonl" | "ndjson" => Kind::JsonLines,
        "ipynb" => Kind::Notebook,
        "xml" | "rss" | "atom" | "svg" | "xsd" | "xsl" | "xslt" | "plist" | "opml" | "rdf" => {
            Kind::Xml
        }
        "csv" | "tsv" | "tab" => Kind::Table,
        _ => return None,
    })
}

/// A name that says nothing: the first characters may still tell.
fn by_content(bytes: &[u8]) -> Route {
    let head = &bytes[..bytes.len().min(512)];
    let head = String::from_utf8_lossy(head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head));
    let head = head.trim_start().to_ascii_lowercase();
    if head.starts_with("<!doctype html") || head.starts_with("<html") {
        return Route::new(Kind::Html);
    }
    if head.starts_with("<?xml") {
        return Route::new(Kind::Xml);
    }
    match head.strip_prefix("#!").and_then(interpreter) {
        Some(language) => Route::code(language),
        None => Route::new(Kind::Plain),
    }
}

fn interpreter(line: &str) -> Option<&'static str> {
    let line = line.lines().next()?;
    let program = line
        .split_whitespace()
        .map(|word| word.rsplit('/').next().unwrap_or(word))
        .find(|word| *word != "env" && !word.starts_with('-'))?;
    let program = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.iter().find(|(known, _)| *known == program).map(|(_, language)| *language)
}

fn lower(part: Option<&std::ffi::OsStr>) -> String {
    part.map(|part| part.to_string_lossy().to_lowercase()).unwrap_or_default()
}
