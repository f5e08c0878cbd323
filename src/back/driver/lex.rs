//! Words of the driver language.

use super::error::DriverError;

/// A word of the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A name or a keyword.
    Word(String),
    /// An integer, or a character by its number.
    Int(i64),
    /// A number with a point.
    Float(f64),
    /// What stands between double quotes.
    Text(String),
    /// One of `SIGNS`.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// All signs, longer ones first.
const SIGNS: [&str; 32] = [
    "->", "==", "!=", "<=", ">=", "<<", ">>", "&&", "||", "(", ")", "{", "}", "[", "]", ",", ";", ":", "=", "<", ">",
    "+", "-", "*", "/", "%", "&", "|", "^", "@", "!", ".",
];

/// Splits a text into tokens with their lines; an `End` is the last.
pub fn lex(text: &str) -> Result<Vec<(usize, Token)>, DriverError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    let error = |line: usize, what: String| DriverError::Syntax { line, what };
    while let Some(first) = rest.chars().next() {
        if first == '\n' {
            line += 1;
        }
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let word = take(&mut rest, |c| c.is_ascii_alphanumeric() || c == '_');
            tokens.push((line, Token::Word(word)));
        } else if first.is_ascii_digit() {
            let word = take(&mut rest, |c| c.is_ascii_alphanumeric() || c == '.');
            tokens.push((line, number(&word).ok_or_else(|| error(line, format!("`{word}` is not a number")))?));
        } else if let Some(inside) = rest.strip_prefix('"') {
            let end = inside.find('"').ok_or_else(|| error(line, "a text without an end".into()))?;
            tokens.push((line, Token::Text(inside[..end].to_string())));
            rest = &inside[end + 1..];
        } else if let Some(inside) = rest.strip_prefix('\'') {
            // A character stands for its number.
            let mut chars = inside.chars();
            let value = chars.next().ok_or_else(|| error(line, "a character without an end".into()))?;
            rest = chars.as_str().strip_prefix('\'').ok_or_else(|| error(line, "one character only".into()))?;
            tokens.push((line, Token::Int(i64::from(u32::from(value)))));
        } else if let Some(sign) = SIGNS.into_iter().find(|s| rest.starts_with(s)) {
            tokens.push((line, Token::Sign(sign)));
            rest = &rest[sign.len()..];
        } else {
            return Err(error(line, format!("`{first}` is not understood")));
        }
    }
    tokens.push((line, Token::End));
    Ok(tokens)
}

fn take(rest: &mut &str, keep: impl Fn(char) -> bool) -> String {
    let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    *rest = behind;
    word.to_string()
}

fn number(word: &str) -> Option<Token> {
    if let Some(hex) = word.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(|v| Token::Int(v as i64));
    }
    match word.contains('.') {
        true => word.parse().ok().map(Token::Float),
        false => word.parse().ok().map(Token::Int),
    }
}
