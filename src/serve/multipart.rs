//! Files of a form (`multipart/form-data`, RFC 7578) in a body that is there as a whole.

use super::refusal::Refusal;
use hyper::body::Bytes;

/// Parts of a form at most.
const PARTS: usize = 1024;

/// A file of a form.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name, for answers.
    pub name: String,
    /// Its contents.
    pub bytes: Bytes,
}

fn broken(what: &str) -> Refusal {
    Refusal::new(400, format!("the form is damaged: {what}"))
        .with_help("`curl -F file=@cat.png URL` sends a form, `curl --data-binary @cat.png URL` a picture by itself")
}

/// Returns what stands between the parts, of the type of a form.
pub fn boundary(content_type: &str) -> Result<Vec<u8>, Refusal> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let named = |(name, value): (&str, &str)| {
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').as_bytes().to_vec())
    };
    let found = parameters.into_iter().find_map(named);
    found.filter(|boundary| (1..=70).contains(&boundary.len())).ok_or_else(|| broken("its type names no boundary"))
}

/// Returns the place of the first `wanted` in `bytes`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&b| b == first) {
        let at = from + at;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Takes a form apart; fields that are no files are left out, an error where no file is left.
pub fn parts(body: &Bytes, boundary: &[u8]) -> Result<Vec<Part>, Refusal> {
    let line = [b"--", boundary].concat();
    let between = [b"\r\n", &line[..]].concat();
    let mut at = match body.starts_with(&line) {
        true => line.len(),
        // A preamble, which nobody reads.
        false => find(body, &between).ok_or_else(|| broken("its boundary is missing"))? + between.len(),
    };
    let mut files = Vec::new();
    while !body[at..].starts_with(b"--") {
        let rest = body[at..].strip_prefix(b"\r\n").ok_or_else(|| broken("a boundary is not the end of its line"))?;
        let start = body.len() - rest.len();
        let head = find(rest, b"\r\n\r\n").ok_or_else(|| broken("a part has no end of its head"))?;
        let contents = start + head + 4;
        let end = find(&body[contents..], &between).ok_or_else(|| broken("its last boundary is missing"))? + contents;
        if let Some(name) = file_name(&body[start..start + head]) {
            files.push(Part { name, bytes: body.slice(contents..end) });
        }
        if files.len() > PARTS {
            return Err(
                Refusal::new(413, format!("a form of more than {PARTS} files")).with_help("send some at a time")
            );
        }
        at = end + between.len();
    }
    match files.is_empty() {
        true => Err(broken("it holds no file")),
        false => Ok(files),
    }
}

/// Returns the name of a part's file; `None` for a field that is none.
fn file_name(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let disposition = head.split("\r\n").find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let (_, rest) = disposition.split_once("filename=\"")?;
    let name = rest.split('"').next().unwrap_or_default();
    // Browsers of old sent whole paths.
    Some(name.rsplit(['/', '\\']).next().unwrap_or(name).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Result<Vec<Part>, Refusal> {
        parts(&Bytes::from(text.replace('\n', "\r\n")), b"xx")
    }

    #[test]
    fn files_come_with_their_names_and_fields_are_left_out() {
        let head = "Content-Disposition: form-data; name=";
        let text = format!(
            "before\n--xx\n{head}\"a\"; filename=\"C:\\b\\cat.png\"\nContent-Type: image/png\n\nab\n--x\nc\n--xx\n\
             {head}\"n\"\n\nfield\n--xx\n{head}\"c\"; filename=\"\"\n\n\n--xx--\nbehind"
        );
        let files = form(&text).expect("a form");
        let named = |name: &str, bytes: &'static [u8]| Part { name: name.into(), bytes: Bytes::from(bytes) };
        assert_eq!(files, [named("cat.png", b"ab\r\n--x\r\nc"), named("", b"")]);
    }

    #[test]
    fn a_form_that_is_cut_anywhere_is_damaged() {
        let text = "--xx\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\n\nabc\n--xx--";
        assert_eq!(form(text).expect("whole").len(), 1);
        for cut in 0..text.len() - 2 {
            assert_eq!(form(&text[..cut]).expect_err("cut").status, 400, "{cut}");
        }
        assert_eq!(form("--xx--").expect_err("empty").status, 400);
    }

    #[test]
    fn the_boundary_stands_in_the_type() {
        assert_eq!(boundary("multipart/form-data; charset=x; Boundary=\"a b\"").expect("named"), b"a b");
        assert!(boundary("multipart/form-data").is_err() && boundary("multipart/form-data; boundary=").is_err());
    }
}
