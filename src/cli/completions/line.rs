//! A line as bash reads it, up to the place where somebody types.

/// The words of a line, without their quotes.
#[derive(Debug, Default, PartialEq)]
pub struct Line {
    /// The words, the one that is typed last: it is empty behind a blank.
    pub words: Vec<String>,
    /// The bytes of the last word that bash leaves as they are: what comes behind them is replaced.
    pub kept: usize,
}

/// Reads a line. `breaks` are the characters behind which bash completes anew (`COMP_WORDBREAKS`): `=` and `:` are
/// among them, which part no words.
pub fn read(line: &str, breaks: &str) -> Line {
    let mut out = Line { words: vec![String::new()], kept: 0 };
    // Whether the last word is begun: it may be empty, in quotes.
    let (mut begun, mut quote) = (false, None);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if begun {
                out.words.push(String::new());
            }
            (begun, out.kept) = (false, 0);
            continue;
        }
        begun = true;
        let word = out.words.last_mut().expect("a word");
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('\\', Some('"')) if !chars.peek().is_some_and(|next| "\"\\$`".contains(*next)) => {
                word.push(c);
                continue;
            }
            ('\\', None | Some('"')) => {
                word.extend(chars.next());
                continue;
            }
            _ => {
                word.push(c);
                if quote.is_some() || !breaks.contains(c) {
                    continue;
                }
            }
        }
        out.kept = word.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn words_are_read_as_bash_reads_them() {
        let breaks = " \t\n\"'><=;|&(:";
        for (line, words, rest) in [
            ("ninc ru", &["ninc", "ru"][..], "ru"),
            ("ninc run ", &["ninc", "run", ""], ""),
            (r"ninc run with\ space.nin --dump f", &["ninc", "run", "with space.nin", "--dump", "f"], "f"),
            (r#"ninc run "with space.nin" --dump f"#, &["ninc", "run", "with space.nin", "--dump", "f"], "f"),
            (r#"ninc "it's" 'a\"b' "a\"\b" '"#, &["ninc", "it's", r#"a\"b"#, r#"a"\b"#, ""], ""),
            ("ninc --set=w", &["ninc", "--set=w"], "w"),
            ("ninc --set width=", &["ninc", "--set", "width="], ""),
            ("ninc --dump=first=mod", &["ninc", "--dump=first=mod"], "mod"),
            ("ninc --device opencl:1", &["ninc", "--device", "opencl:1"], "1"),
            (r"ninc a\=b", &["ninc", "a=b"], "a=b"),
            ("ninc \"--set=w", &["ninc", "--set=w"], "--set=w"),
            ("ninc \"dir a\"/x", &["ninc", "dir a/x"], "/x"),
            ("ninc größe\\", &["ninc", "größe"], "größe"),
            ("ninc '' b", &["ninc", "", "b"], "b"),
            ("", &[""], ""),
        ] {
            let read = read(line, breaks);
            assert_eq!(read.words, words, "{line}");
            assert_eq!(&read.words[words.len() - 1][read.kept..], rest, "{line}");
        }
    }
}
