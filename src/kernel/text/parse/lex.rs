//! Cuts the text into names, numbers and signs.

use crate::kernel::error::ParseError;

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name in quotes or not, with its number in the list.
    Name(String, Option<usize>),
    /// Digits, with a point or `0x` or not.
    Number(String),
    /// Any other character.
    Sign(char),
    /// The end of the text.
    End,
}

/// The pieces of the text, each with its line.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, usize)>, ParseError> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    let run = |from: usize, ok: &dyn Fn(char) -> bool| from + chars[from..].iter().take_while(|c| ok(**c)).count();
    while let Some(&c) = chars.get(i) {
        let start = i;
        match c {
            '\n' => (i, line) = (i + 1, line + 1),
            _ if c.is_whitespace() => i += 1,
            '0'..='9' => {
                i = run(i, &|c| c.is_ascii_alphanumeric());
                if chars.get(i) == Some(&'.') && chars.get(i + 1).is_some_and(char::is_ascii_digit) {
                    i = run(i + 1, &|c| c.is_ascii_alphanumeric());
                }
                let hex = chars.get(start + 1) == Some(&'x');
                if !hex && chars[i - 1] == 'e' && matches!(chars.get(i), Some('+' | '-')) {
                    i = run(i + 1, &|c| c.is_ascii_digit());
                }
                tokens.push((Token::Number(chars[start..i].iter().collect()), line));
            }
            '"' => {
                let mut name = String::new();
                i = string(&chars, i + 1, &mut name)
                    .ok_or_else(|| ParseError { line, what: "a name without end".into() })?;
                let number = number_behind(&chars, &mut i);
                tokens.push((Token::Name(name, number), line));
            }
            _ if c.is_ascii_alphabetic() || c == '_' => {
                i = run(i, &|c| c.is_ascii_alphanumeric() || c == '_');
                let name = chars[start..i].iter().collect();
                let number = number_behind(&chars, &mut i);
                tokens.push((Token::Name(name, number), line));
            }
            _ => {
                tokens.push((Token::Sign(c), line));
                i += 1;
            }
        }
    }
    tokens.push((Token::End, line));
    Ok(tokens)
}

/// The rest of a quoted name, as `{:?}` writes it; returns the place behind it.
fn string(chars: &[char], mut i: usize, name: &mut String) -> Option<usize> {
    loop {
        match chars.get(i)? {
            '"' => return Some(i + 1),
            '\\' => {
                let escaped = *chars.get(i + 1)?;
                i += 2;
                match escaped {
                    'n' => name.push('\n'),
                    't' => name.push('\t'),
                    'r' => name.push('\r'),
                    '0' => name.push('\0'),
                    'u' => {
                        let end = i + chars[i..].iter().position(|c| *c == '}')?;
                        let digits: String = chars.get(i + 1..end)?.iter().collect();
                        name.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                        i = end + 1;
                    }
                    other => name.push(other),
                }
            }
            other => {
                name.push(*other);
                i += 1;
            }
        }
    }
}

fn number_behind(chars: &[char], i: &mut usize) -> Option<usize> {
    if chars.get(*i) != Some(&'.') {
        return None;
    }
    let digits: String = chars[*i + 1..].iter().take_while(|c| c.is_ascii_digit()).collect();
    let number = digits.parse().ok()?;
    *i += 1 + digits.len();
    Some(number)
}
