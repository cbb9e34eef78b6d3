//! A filter from text: SQL's conditions, nothing else of SQL.
//!
//! `sqlparser` finds words, literals and their places. The grammar is ours, because the library's own reads all of SQL:
//! it would have to be refused part by part, tells the place of an error in words only, and nests a chain of ten
//! thousand ANDs ten thousand deep.
//!
//! ```text
//! or         = and { OR and }
//! and        = not { AND not }
//! not        = NOT not | "(" or ")" | TRUE | FALSE | comparison
//! comparison = field compare literal | literal compare field
//!            | field [NOT] IN "(" literal { "," literal } ")"
//!            | field [NOT] (LIKE | ILIKE) string [ESCAPE string]
//!            | field [NOT] BETWEEN literal AND literal
//!            | field IS [NOT] NULL
//! compare    = "=" | "!=" | "<>" | "<" | "<=" | ">" | ">="
//! field      = name { "." name }
//! literal    = string | ["-" | "+"] number | TRUE | FALSE
//! ```

use sqlparser::tokenizer::Token;

use super::like::Pattern;
use super::scalar::Scalar;
use super::tokens::{Placed, is_other_sql, is_reserved, tokens};
use super::{Comparison, Condition, Filter, FilterError, MAX_DEPTH, Test};

/// Longest text that is read.
const MAX_TEXT_BYTES: usize = 1 << 20;

impl Filter {
    /// Reads a filter from text.
    ///
    /// Conditions are those of SQL: `=`, `!=`, `<>`, `<`, `<=`, `>`, `>=`, IN, LIKE, ILIKE (with ESCAPE), BETWEEN, IS
    /// NULL, their NOT forms, AND, OR, NOT, parentheses, TRUE and FALSE. `'text'` is a string, `name` or `"any name"` a
    /// field, `author.name` one in nested metadata.
    ///
    /// # Errors
    /// What is wrong and where; also if it is longer than 1 MiB or nested more than 32 deep.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        if text.len() > MAX_TEXT_BYTES {
            let problem = format!("it has {} bytes, {MAX_TEXT_BYTES} is the most", text.len());
            return Err(FilterError::in_text(text, 0, 0, problem));
        }
        let mut parser = Parser { text, tokens: tokens(text)?, next: 0 };
        let condition = parser.or(MAX_DEPTH)?;
        match parser.peek() {
            None if condition.depth() > MAX_DEPTH => {
                parser.next = 0;
                Err(parser.too_deep())
            }
            None => Ok(Filter { condition }),
            Some(_) => Err(parser.expected("AND, OR or the end")),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed>,
    next: usize,
}

impl Parser<'_> {
    fn or(&mut self, depth: usize) -> Result<Condition, FilterError> {
        let mut conditions = vec![self.and(depth)?];
        while self.accept_word("OR") {
            conditions.push(self.and(depth)?);
        }
        Ok(Condition::or(conditions))
    }

    fn and(&mut self, depth: usize) -> Result<Condition, FilterError> {
        let mut conditions = vec![self.not(depth)?];
        while self.accept_word("AND") {
            conditions.push(self.not(depth)?);
        }
        Ok(Condition::and(conditions))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, FilterError> {
        let deeper = || depth.checked_sub(1);
        if self.is_word("NOT") {
            let depth = deeper().ok_or_else(|| self.too_deep())?;
            self.next += 1;
            return Ok(Condition::not(self.not(depth)?));
        }
        if self.is_token(&Token::LParen) {
            let depth = deeper().ok_or_else(|| self.too_deep())?;
            self.next += 1;
            let inner = self.or(depth)?;
            self.expect(&Token::RParen, "AND, OR or \")\"")?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, FilterError> {
        if let Some(literal) = self.literal()? {
            let Some((comparison, is_negated)) = self.accept_comparison() else {
                return match literal {
                    Scalar::Bool(true) => Ok(Condition::And(Vec::new())),
                    Scalar::Bool(false) => Ok(Condition::Or(Vec::new())),
                    _ => Err(self.expected("a comparison, as in year >= 2020")),
                };
            };
            let field = self.field()?;
            let test = Test::Compare(turned(comparison), literal);
            return Ok(negated_if(is_negated, Condition::Has(field, test)));
        }
        let field = self.field()?;
        if let Some((comparison, is_negated)) = self.accept_comparison() {
            let literal = self.expect_literal()?;
            let condition = Condition::Has(field, Test::Compare(comparison, literal));
            return Ok(negated_if(is_negated, condition));
        }
        if self.accept_word("IS") {
            let is_negated = self.accept_word("NOT");
            self.expect_word("NULL")?;
            return Ok(negated_if(is_negated, Condition::IsNull(field)));
        }
        let is_negated = self.accept_word("NOT");
        let test = self.test()?;
        Ok(negated_if(is_negated, Condition::Has(field, test)))
    }

    /// IN, LIKE, ILIKE, BETWEEN and what follows them.
    fn test(&mut self) -> Result<Test, FilterError> {
        if self.accept_word("IN") {
            self.expect(&Token::LParen, "\"(\" and a list of literals")?;
            let mut values = vec![self.expect_literal()?];
            while self.accept(&Token::Comma) {
                values.push(self.expect_literal()?);
            }
            self.expect(&Token::RParen, "\",\" or \")\"")?;
            return Ok(Test::In(values));
        }
        if self.accept_word("BETWEEN") {
            let low = self.expect_literal()?;
            self.expect_word("AND")?;
            return Ok(Test::Between(low, self.expect_literal()?));
        }
        let ignores_case = self.is_word("ILIKE");
        if !(self.accept_word("ILIKE") || self.accept_word("LIKE")) {
            return Err(self.expected("a comparison, IN, LIKE, ILIKE, BETWEEN or IS"));
        }
        let at = self.next;
        let pattern = self.expect_string("a pattern in single quotes")?;
        let mut escape = None;
        if self.accept_word("ESCAPE") {
            let escape_at = self.next;
            let text = self.expect_string("one character in single quotes")?;
            let mut characters = text.chars();
            escape = characters.next();
            if escape.is_none() || characters.next().is_some() {
                return Err(self.problem_at(escape_at, "ESCAPE takes one character"));
            }
        }
        Pattern::new(pattern, escape, ignores_case)
            .map(Test::Like)
            .map_err(|problem| self.problem_at(at, problem))
    }

    fn field(&mut self) -> Result<String, FilterError> {
        let mut path = self.name()?;
        while self.accept(&Token::Period) {
            path.push('.');
            path.push_str(&self.name()?);
        }
        if self.is_token(&Token::LParen) {
            let problem = format!("functions such as {path} are not supported");
            return Err(self.problem_at(self.next - 1, problem));
        }
        Ok(path)
    }

    fn name(&mut self) -> Result<String, FilterError> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_some() || !is_reserved(&word.value) => {
                let name = word.value.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.expected("the name of a field")),
        }
    }

    fn literal(&mut self) -> Result<Option<Scalar>, FilterError> {
        let at = self.next;
        let sign = match self.peek() {
            Some(Token::Minus) => "-",
            Some(Token::Plus) => "+",
            _ => "",
        };
        self.next += usize::from(!sign.is_empty());
        let literal = match self.peek() {
            Some(Token::Number(digits, false)) => match number(sign, digits) {
                Some(number) => number,
                None => return Err(self.expected("a number of at most 1.8e308")),
            },
            _ if !sign.is_empty() => return Err(self.expected("a number")),
            Some(Token::SingleQuotedString(text)) => Scalar::text(text),
            Some(Token::Word(_)) if self.is_word("TRUE") => Scalar::Bool(true),
            Some(Token::Word(_)) if self.is_word("FALSE") => Scalar::Bool(false),
            _ => {
                self.next = at;
                return Ok(None);
            }
        };
        self.next += 1;
        Ok(Some(literal))
    }

    fn expect_literal(&mut self) -> Result<Scalar, FilterError> {
        if self.is_word("NULL") {
            let problem = "nothing equals NULL; write IS NULL or IS NOT NULL";
            return Err(self.problem_at(self.next, problem));
        }
        self.literal()?
            .ok_or_else(|| self.expected("a number, TRUE, FALSE or text in single quotes"))
    }

    fn expect_string(&mut self, what: &str) -> Result<String, FilterError> {
        let Some(Token::SingleQuotedString(text)) = self.peek() else {
            return Err(self.expected(what));
        };
        let text = text.clone();
        self.next += 1;
        Ok(text)
    }

    /// A comparison, and whether it is to be negated.
    fn accept_comparison(&mut self) -> Option<(Comparison, bool)> {
        let found = match self.peek()? {
            Token::Eq => (Comparison::Equal, false),
            Token::Neq => (Comparison::Equal, true),
            Token::Lt => (Comparison::Less, false),
            Token::LtEq => (Comparison::LessOrEqual, false),
            Token::Gt => (Comparison::Greater, false),
            Token::GtEq => (Comparison::GreaterOrEqual, false),
            _ => return None,
        };
        self.next += 1;
        Some(found)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    fn is_token(&self, token: &Token) -> bool {
        self.peek() == Some(token)
    }

    fn accept(&mut self, token: &Token) -> bool {
        let is_next = self.is_token(token);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, token: &Token, what: &str) -> Result<(), FilterError> {
        if self.accept(token) { Ok(()) } else { Err(self.expected(what)) }
    }

    fn is_word(&self, keyword: &str) -> bool {
        let Some(Token::Word(word)) = self.peek() else { return false };
        word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword)
    }

    fn accept_word(&mut self, keyword: &str) -> bool {
        let is_next = self.is_word(keyword);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect_word(&mut self, keyword: &str) -> Result<(), FilterError> {
        if self.accept_word(keyword) { Ok(()) } else { Err(self.expected(keyword)) }
    }

    fn too_deep(&self) -> FilterError {
        self.problem_at(self.next, format!("it is nested more than {MAX_DEPTH} deep"))
    }

    fn expected(&self, what: &str) -> FilterError {
        let found = match self.tokens.get(self.next) {
            Some(Placed { token: Token::Word(word), .. })
                if word.quote_style.is_none() && is_other_sql(&word.value) =>
            {
                let problem = format!("{} is not supported in a filter", word.value.to_uppercase());
                return self.problem_at(self.next, problem);
            }
            Some(placed) => format!("{:?}", &self.text[placed.start..placed.end]),
            None => "the end".to_owned(),
        };
        self.problem_at(self.next, format!("found {found}, expected {what}"))
    }

    fn problem_at(&self, token_idx: usize, problem: impl Into<String>) -> FilterError {
        let end = self.text.trim_end().len();
        let (start, end) =
            self.tokens.get(token_idx).map_or((end, end), |placed| (placed.start, placed.end));
        FilterError::in_text(self.text, start, end, problem)
    }
}

fn number(sign: &str, digits: &str) -> Option<Scalar> {
    let text = format!("{sign}{digits}");
    match text.parse() {
        Ok(integer) => Some(Scalar::Integer(integer)),
        Err(_) => Scalar::float(text.parse().ok()?),
    }
}

/// The comparison with its sides exchanged.
fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::Equal,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
    }
}

fn negated_if(is_negated: bool, condition: Condition) -> Condition {
    if is_negated { Condition::not(condition) } else { condition }
}
