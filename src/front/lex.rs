//! Words and signs of a file, comments included. The grammar is pest's; this is for what must see the whole text before
//! it is known to be right: nesting, recovery after an error, the formatter.

use super::codes;
use super::diag::{Diagnostic, Span};

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A name or a word of the language.
    Word,
    /// What starts with a digit.
    Number,
    /// A string, with its quotes.
    Text,
    /// A string that its line does not close.
    OpenText,
    /// From `//` to the end of the line.
    Comment,
    /// A bracket, an operator or another sign.
    Sign,
    /// A character that no file may contain outside strings and comments.
    Bad,
}

/// A token and its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
    /// Line breaks between the token before and this one.
    pub newlines: usize,
}

impl Token {
    /// Its part of the text.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        &source[self.span.range()]
    }
}

/// Length of the token that starts at `rest`, and its kind.
fn scan(rest: &str) -> (TokenKind, usize) {
    let bytes = rest.as_bytes();
    let run = |accept: fn(u8) -> bool| bytes.iter().take_while(|b| accept(**b)).count();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match bytes[0] {
        b'/' if bytes.get(1) == Some(&b'/') => {
            (TokenKind::Comment, rest.find(['\n', '\r']).unwrap_or(rest.len()).max(2))
        }
        b if b.is_ascii_alphabetic() || b == b'_' => (TokenKind::Word, run(word)),
        b if b.is_ascii_digit() => (TokenKind::Number, number_length(bytes)),
        b'"' => text_length(bytes),
        b'|' if bytes.get(1) == Some(&b'>') => (TokenKind::Sign, 2),
        b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b'=' | b':' | b'+' | b'-' | b'*' | b'/' | b'%' | b'|'
        | b'<' | b'>' | b'.' | b';' | b'!' | b'&' | b'^' | b'?' | b'\'' | b'@' | b'#' | b'$' | b'~' | b'\\' | b'`' => {
            (TokenKind::Sign, 1)
        }
        _ => (TokenKind::Bad, rest.chars().next().map_or(1, char::len_utf8)),
    }
}

fn number_length(bytes: &[u8]) -> usize {
    let mut i = 0;
    while i < bytes.len() {
        let b = bytes[i];
        let sign = (b == b'+' || b == b'-') && matches!(bytes[i - 1], b'e' | b'E');
        let point = b == b'.' && bytes.get(i + 1).is_some_and(u8::is_ascii_digit);
        if !(b.is_ascii_alphanumeric() || b == b'_' || point || sign) {
            break;
        }
        i += 1;
    }
    i
}

fn text_length(bytes: &[u8]) -> (TokenKind, usize) {
    let mut i = 1;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => return (TokenKind::Text, i + 1),
            b'\n' | b'\r' => break,
            b'\\' if i + 1 < bytes.len() && !matches!(bytes[i + 1], b'\n' | b'\r') => i += 2,
            _ => i += 1,
        }
    }
    // An escape may have stepped into the middle of a character; the caller needs a boundary.
    (TokenKind::OpenText, i.min(bytes.len()))
}

/// All tokens in order.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut at = if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 };
    let mut newlines = 0;
    while at < text.len() {
        let byte = text.as_bytes()[at];
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            // A lone carriage return is an old Mac's line break.
            newlines += usize::from(byte == b'\n' || byte == b'\r' && text.as_bytes().get(at + 1) != Some(&b'\n'));
            at += 1;
            continue;
        }
        let (kind, mut length) = scan(&text[at..]);
        while !text.is_char_boundary(at + length) {
            length += 1;
        }
        out.push(Token { kind, span: Span::new(at, at + length), newlines });
        newlines = 0;
        at += length;
    }
    out
}

/// Errors for what no file may contain: signs outside the language, unclosed strings, characters that make a text look
/// other than it is. At most a handful: a binary file is one mistake, not a million.
pub fn check_characters(text: &str, tokens: &[Token]) -> Vec<Diagnostic> {
    const MOST: usize = 5;
    let mut out = Vec::new();
    for token in tokens {
        match token.kind {
            TokenKind::Bad => out.push(bad_character(text, token.span)),
            TokenKind::OpenText => out.push(
                Diagnostic::error(codes::UNCLOSED, token.span, "this string has no closing `\"` on its line")
                    .help("close it with `\"`; a `\"` inside is written `\\\"`"),
            ),
            TokenKind::Comment | TokenKind::Text => {
                for (i, c) in token.text(text).char_indices() {
                    let start = token.span.start + i;
                    if is_hidden(c) {
                        out.push(bad_character(text, Span::new(start, start + c.len_utf8())));
                    }
                }
            }
            TokenKind::Word | TokenKind::Number | TokenKind::Sign => {}
        }
        if out.len() >= MOST {
            break;
        }
    }
    out
}

/// Control characters, and those that change the direction of text: what one reads would not be what is compiled.
fn is_hidden(c: char) -> bool {
    c.is_control() && c != '\t'
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}')
}

fn bad_character(text: &str, span: Span) -> Diagnostic {
    let c = text[span.range()].chars().next().unwrap_or('\0');
    let shown = match c {
        c if is_hidden(c) || c.is_whitespace() || c == '\u{200B}' => {
            format!("the invisible character U+{:04X}", c as u32)
        }
        c => format!("the character `{c}`"),
    };
    let help = match c {
        '\u{201C}' | '\u{201D}' | '\u{201E}' | '\u{2018}' | '\u{2019}' => "strings stand in straight quotes: `\"`",
        '\u{2212}' | '\u{2013}' | '\u{2014}' => "the minus sign is the hyphen `-`",
        '\u{00D7}' => "multiplication is written `*`",
        '\0' => "is this a text file? Save it as UTF-8",
        c if is_hidden(c) || c.is_whitespace() || c == '\u{200B}' => "remove it",
        c if c.is_alphabetic() => "names consist of the letters a to z and A to Z, digits and `_`",
        _ => "remove it; in comments and strings any visible character may stand",
    };
    let d = Diagnostic::error(codes::BAD_CHARACTER, span, format!("{shown} cannot stand here")).help(help);
    match c {
        '\u{201C}' | '\u{201D}' | '\u{201E}' => d.fix(span, "\""),
        '\u{2212}' | '\u{2013}' | '\u{2014}' => d.fix(span, "-"),
        '\u{00D7}' => d.fix(span, "*"),
        c if is_hidden(c) || c == '\u{200B}' => d.fix(span, ""),
        c if c.is_whitespace() => d.fix(span, " "),
        _ => d,
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenKind, tokens};

    #[test]
    fn tokens_cover_the_text() {
        let text = "a |> b(1e-4, 0.5) // c\r\n\"x\\\"y\" \"open\n{é}";
        let found: Vec<(TokenKind, &str)> = tokens(text).iter().map(|t| (t.kind, t.text(text))).collect();
        use TokenKind::{Bad, Comment, Number, OpenText, Sign, Text, Word};
        let expected = [
            (Word, "a"),
            (Sign, "|>"),
            (Word, "b"),
            (Sign, "("),
            (Number, "1e-4"),
            (Sign, ","),
            (Number, "0.5"),
            (Sign, ")"),
            (Comment, "// c"),
            (Text, "\"x\\\"y\""),
            (OpenText, "\"open"),
            (Sign, "{"),
            (Bad, "é"),
            (Sign, "}"),
        ];
        assert_eq!(found, expected);
    }
}
