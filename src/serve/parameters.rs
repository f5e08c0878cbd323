//! Parameters of a header's value (`form-data; name="a"; filename="b.png"`), as RFC 6266, RFC 5987 and browsers write
//! them.

/// Reads what follows the first `;` of a value: names in lower case, and their texts without quotes. `None` where a
/// quote has no end.
pub fn parameters(value: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    while !rest.is_empty() {
        let end = rest.find(['=', ';']).unwrap_or(rest.len());
        let name = rest[..end].trim().to_ascii_lowercase();
        if !rest[end..].starts_with('=') {
            // A word without a value.
            rest = rest.get(end + 1..).unwrap_or("");
            continue;
        }
        let value = rest[end + 1..].trim_start();
        let (text, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim_end().to_string(), &value[end..])
            }
        };
        found.push((name, text));
        rest = behind.split_once(';').map_or("", |(_, rest)| rest);
    }
    Some(found)
}

/// Reads up to the quote that ends a text. A backslash escapes a quote and itself; others stand for themselves, as in
/// names of Windows.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let (mut text, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' | '\\' if escaped => text.push(c),
            '\\' => {
                escaped = true;
                continue;
            }
            '"' => return Some((text, &quoted[at + 1..])),
            c => {
                if escaped {
                    text.push('\\');
                }
                text.push(c);
            }
        }
        escaped = false;
    }
    None
}

/// Returns the name of a file among the parameters of `Content-Disposition`: that of `filename*` before the other.
pub fn file_name(parameters: &[(String, String)]) -> Option<String> {
    let of = |name: &str| parameters.iter().find(|(own, _)| own == name).map(|(_, text)| &text[..]);
    let extended = of("filename*").and_then(extended);
    // Browsers and curl write the characters that would end a line or the quotes so.
    let plain = || {
        of("filename").map(|name| {
            let signs = [("%22", "\""), ("%0D", "\r"), ("%0A", "\n")];
            signs.iter().fold(name.to_string(), |name, (code, sign)| name.replace(code, sign))
        })
    };
    extended.or_else(plain)
}

/// Reads a text like `UTF-8'en'na%C3%AFve.png`; `None` where it is none.
fn extended(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_, coded) = rest.split_once('\'')?;
    let mut bytes = Vec::new();
    let mut left = coded.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || Some(char::from(left.next()?).to_digit(16)? as u8);
                16 * digit()? + digit()?
            }
            byte => byte,
        });
    }
    match &charset.to_ascii_lowercase()[..] {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_or_not() {
        let read = |text: &str| {
            parameters(text).map(|found| found.into_iter().map(|(name, text)| format!("{name}={text}")).collect())
        };
        let some = |expected: &[&str]| Some(expected.iter().map(|text| text.to_string()).collect::<Vec<_>>());
        assert_eq!(read("form-data"), some(&[]));
        assert_eq!(read("form-data; Name=a ; FILENAME = b c.png"), some(&["name=a", "filename=b c.png"]));
        assert_eq!(read(r#"x; a="1; b=\"2\"";c=3;; d; e="""#), some(&["a=1; b=\"2\"", "c=3", "e="]));
        assert_eq!(read(r#"x; a="C:\b\c\\d""#), some(&[r"a=C:\b\c\d"]));
        assert_eq!(read(r#"x; a="b"#), None);
        assert_eq!(read(r#"x; a="b\""#), None);
    }

    #[test]
    fn a_file_has_the_name_that_the_client_gave() {
        let named = |text: &str| file_name(&parameters(text).expect("parameters"));
        for (text, name) in [
            ("x; filename=cat.png", "cat.png"),
            (r#"x; filename="a \"b\".png""#, "a \"b\".png"),
            (r#"x; filename="a %22b%22 100%.png""#, "a \"b\" 100%.png"),
            ("x; filename*=UTF-8''na%C3%AFve%20%e2%82%ac.png", "naïve €.png"),
            (r#"x; filename="other.png"; filename*=iso-8859-1'de'%FCber.png"#, "über.png"),
            // What cannot be read leaves the plain name.
            (r#"x; filename*=UTF-8''%C3; filename="a.png""#, "a.png"),
            (r#"x; filename*=UTF-8''%4; filename="a.png""#, "a.png"),
            (r#"x; filename*=koi8-r''%C3; filename="a.png""#, "a.png"),
        ] {
            assert_eq!(named(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(named("x; name=a"), None);
    }
}
