//! The model's task prefixes, for packages that do not bring their own.
//!
//! Prompt and text are joined as strings and tokenised together; the trailing space belongs to the
//! prompt. Source: EmbeddingGemma's model card and `config_sentence_transformers.json`.

use std::collections::BTreeMap;

/// The title of a document that has none.
const NO_TITLE: &str = "none";

/// EmbeddingGemma's own prompts by name.
pub(crate) fn embeddinggemma() -> BTreeMap<String, String> {
    const SEARCH: &str = "task: search result | query: ";
    const SIMILARITY: &str = "task: sentence similarity | query: ";
    const CLASSIFICATION: &str = "task: classification | query: ";
    const DOCUMENT: &str = "title: none | text: ";
    let prompts = [
        ("query", SEARCH),
        ("document", DOCUMENT),
        ("Retrieval", SEARCH),
        ("Retrieval-query", SEARCH),
        ("Retrieval-document", DOCUMENT),
        ("Reranking", SEARCH),
        ("BitextMining", SEARCH),
        ("STS", SIMILARITY),
        ("PairClassification", SIMILARITY),
        ("Clustering", "task: clustering | query: "),
        ("Classification", CLASSIFICATION),
        ("MultilabelClassification", CLASSIFICATION),
        ("InstructionRetrieval", "task: code retrieval | query: "),
        ("Summarization", "task: summarization | query: "),
    ];
    prompts.into_iter().map(|(name, prompt)| (name.to_owned(), prompt.to_owned())).collect()
}

/// Puts a title into a document prompt: `title: none | text: ` becomes `title: Rust | text: `.
///
/// A prompt without a place for a title is returned as it is. A title is one line: white space is
/// folded, so that it cannot break out of its place.
pub(crate) fn with_title(prompt: &str, title: &str) -> String {
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let place = format!("title: {NO_TITLE} |");
    if title.is_empty() {
        return prompt.to_owned();
    }
    prompt.replacen(&place, &format!("title: {title} |"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_takes_the_place_of_none() {
        let prompt = &embeddinggemma()["document"];
        assert_eq!(with_title(prompt, " The\nRust  book "), "title: The Rust book | text: ");
        assert_eq!(with_title(prompt, " \n"), "title: none | text: ");
        assert_eq!(with_title("passage: ", "Rust"), "passage: ");
    }
}
