//! Files of a form (`multipart/form-data`, RFC 7578) in a body that is there as a whole.

use super::parameters::{file_name, parameters};
use super::refusal::Refusal;
use hyper::body::Bytes;

/// Parts of a form at most.
const PARTS: usize = 1024;
/// Bytes of a part's head at most: its name stands in answers.
const HEAD: usize = 8192;

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
    let named = parameters(content_type).into_iter().flatten().find(|(name, _)| name == "boundary");
    let found = named.map(|(_, text)| text.into_bytes());
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
        if head > HEAD {
            return Err(broken("the head of a part is longer than 8192 bytes"));
        }
        let contents = start + head + 4;
        let end = find(&body[contents..], &between).ok_or_else(|| broken("its last boundary is missing"))? + contents;
        match name(&body[start..start + head])? {
            // What browsers send of a choice of files where none was chosen.
            Some(name) if name.is_empty() && contents == end => {}
            Some(name) => files.push(Part { name, bytes: body.slice(contents..end) }),
            None => {}
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

/// Returns a part's file name, or its field's name if it is a picture without one; `None` for a field of plain text.
fn name(head: &[u8]) -> Result<Option<String>, Refusal> {
    let head = String::from_utf8_lossy(head);
    let value = |name: &str| {
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(own, _)| own.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let Some(disposition) = value("content-disposition") else { return Ok(None) };
    let parameters = parameters(disposition).ok_or_else(|| broken("a quote in the head of a part has no end"))?;
    let picture = value("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("image/"));
    let field = || parameters.iter().find(|(name, _)| name == "name").map(|(_, text)| text.clone());
    Ok(file_name(&parameters).or_else(|| picture.then(field).flatten()))
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
             {head}\"n\"\n\nfield\n--xx\n{head}\"c\"; filename=\"\"\n\n\n--xx\n{head}\"d\"; filename=\"\"\n\nx\n\
             --xx\nCONTENT-TYPE: Image/png\n{head}e\n\ny\n--xx--\nbehind"
        );
        let files = form(&text).expect("a form");
        let named = |name: &str, bytes: &'static [u8]| Part { name: name.into(), bytes: Bytes::from(bytes) };
        let first = named("C:\\b\\cat.png", b"ab\r\n--x\r\nc");
        assert_eq!(files, [first, named("", b"x"), named("e", b"y")]);
        let open = format!("--xx\n{head}\"a\"; filename=\"b\n\nabc\n--xx--");
        assert!(form(&open).expect_err("open").error.message.contains("has no end"));
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
        assert_eq!(boundary("multipart/form-data; charset=x; Boundary=\"a;b\"").expect("named"), b"a;b");
        assert!(boundary("multipart/form-data").is_err() && boundary("multipart/form-data; boundary=").is_err());
    }
}
