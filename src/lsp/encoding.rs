//! Positions of the protocol, a line and a column in the client's units, and offsets in bytes.

use lsp_types::{Position, PositionEncodingKind, Range};

use crate::front::diag::Span;

/// Units in which columns are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes.
    Utf8,
    /// Units of 16 bits, which every client knows.
    Utf16,
    /// Characters.
    Utf32,
}

impl Encoding {
    /// Chooses one of those that the client offers: bytes if it can, since they cost nothing.
    pub fn negotiate(offered: Option<&[PositionEncodingKind]>) -> Encoding {
        let has = |kind| offered.is_some_and(|offered| offered.contains(&kind));
        if has(PositionEncodingKind::UTF8) {
            Encoding::Utf8
        } else if has(PositionEncodingKind::UTF32) && !has(PositionEncodingKind::UTF16) {
            Encoding::Utf32
        } else {
            Encoding::Utf16
        }
    }

    /// Its name in the protocol.
    pub fn kind(self) -> PositionEncodingKind {
        match self {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
            Encoding::Utf32 => PositionEncodingKind::UTF32,
        }
    }

    fn width(self, c: char) -> usize {
        match self {
            Encoding::Utf8 => c.len_utf8(),
            Encoding::Utf16 => c.len_utf16(),
            Encoding::Utf32 => 1,
        }
    }
}

/// Bytes from one mark to the next, about: what is counted anew for each position.
const STRIDE: usize = 256;

/// Where lines start, and units before some places.
#[derive(Debug)]
pub struct Lines {
    encoding: Encoding,
    /// Start and end of each line, its break left out.
    lines: Vec<(usize, usize)>,
    /// Offsets with the units before them, both growing.
    marks: Vec<(usize, usize)>,
}

impl Lines {
    /// Measures a text. Lines end with `\n`, `\r\n` or `\r`.
    pub fn new(text: &str, encoding: Encoding) -> Lines {
        let (mut lines, mut marks) = (vec![], vec![(0, 0)]);
        let (mut start, mut units, mut marked) = (0, 0, 0);
        let bytes = text.as_bytes();
        for (at, c) in text.char_indices() {
            if at - marked >= STRIDE {
                marks.push((at, units));
                marked = at;
            }
            units += encoding.width(c);
            match c {
                '\r' if bytes.get(at + 1) == Some(&b'\n') => {}
                '\n' | '\r' => {
                    let end = if c == '\n' && at > start && bytes[at - 1] == b'\r' { at - 1 } else { at };
                    lines.push((start, end));
                    start = at + 1;
                }
                _ => {}
            }
        }
        lines.push((start, text.len()));
        Lines { encoding, lines, marks }
    }

    /// The units before an offset.
    fn units(&self, text: &str, offset: usize) -> usize {
        let (at, units) = self.marks[self.marks.partition_point(|(at, _)| *at <= offset) - 1];
        units + text[at..offset].chars().map(|c| self.encoding.width(c)).sum::<usize>()
    }

    /// The position of an offset; beyond the text and within a character, of the nearest before.
    pub fn position(&self, text: &str, offset: usize) -> Position {
        let offset = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let line = self.lines.partition_point(|(start, _)| *start <= offset) - 1;
        let (start, end) = self.lines[line];
        let column = self.units(text, offset.min(end)) - self.units(text, start);
        Position::new(line as u32, column as u32)
    }

    /// The offset of a position; beyond a line its end, beyond the text the end, within a character its start.
    pub fn offset(&self, text: &str, position: Position) -> usize {
        let Some(&(start, end)) = self.lines.get(position.line as usize) else { return text.len() };
        let wanted = self.units(text, start) + position.character as usize;
        let mark = self.marks.partition_point(|(at, units)| *at <= start || *units <= wanted);
        let (mut at, mut units) = self.marks[mark.saturating_sub(1)];
        if at < start {
            (at, units) = (start, self.units(text, start));
        }
        for c in text[at..end.max(at)].chars() {
            if units + self.encoding.width(c) > wanted {
                break;
            }
            units += self.encoding.width(c);
            at += c.len_utf8();
        }
        at.min(end)
    }

    /// The range of a span.
    pub fn range(&self, text: &str, span: Span) -> Range {
        Range::new(self.position(text, span.start), self.position(text, span.end.max(span.start)))
    }

    /// The span of a range, its ends in order.
    pub fn span(&self, text: &str, range: Range) -> Span {
        let (a, b) = (self.offset(text, range.start), self.offset(text, range.end));
        Span::new(a.min(b), a.max(b))
    }

    /// The number of a line that an offset lies on.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|(start, _)| *start <= offset) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, Lines};
    use lsp_types::{Position, PositionEncodingKind};

    #[test]
    fn every_offset_comes_back() {
        let long = "größe 😀 ".repeat(80);
        let text = format!("a\r\nb\rc\n\n{long}\nµ");
        for encoding in [Encoding::Utf8, Encoding::Utf16, Encoding::Utf32] {
            let lines = Lines::new(&text, encoding);
            for (at, c) in text.char_indices().filter(|(_, c)| !matches!(c, '\r' | '\n')) {
                assert_eq!(lines.offset(&text, lines.position(&text, at)), at, "{encoding:?} {c}");
            }
            assert_eq!(lines.position(&text, text.len()).line, 5);
            assert_eq!(lines.offset(&text, Position::new(9, 9)), text.len());
            assert_eq!(lines.offset(&text, Position::new(0, 99)), 1);
            assert_eq!(lines.offset(&text, Position::new(1, 99)), 4);
        }
        let column = |encoding| Lines::new("é😀x", encoding).position("é😀x", 6).character;
        assert_eq!([Encoding::Utf8, Encoding::Utf16, Encoding::Utf32].map(column), [6, 3, 2]);
    }

    #[test]
    fn the_client_decides_what_can_be_chosen() {
        let (utf8, utf16, utf32) =
            (PositionEncodingKind::UTF8, PositionEncodingKind::UTF16, PositionEncodingKind::UTF32);
        assert_eq!(Encoding::negotiate(None), Encoding::Utf16);
        assert_eq!(Encoding::negotiate(Some(&[utf16.clone(), utf8])), Encoding::Utf8);
        assert_eq!(Encoding::negotiate(Some(std::slice::from_ref(&utf32))), Encoding::Utf32);
        assert_eq!(Encoding::negotiate(Some(&[utf32, utf16])), Encoding::Utf16);
    }
}
