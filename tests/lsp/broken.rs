//! Broken texts, and texts that change: nothing panics, and what is known is answered.

use super::client::{Client, models, position, uri};
use serde_json::{Value, json};

/// Draws numbers, the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// A text with something wrong with it.
fn mutated(text: &str, draw: &mut Draw) -> String {
    const PIECES: [&str; 22] = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "|>",
        "=",
        "as",
        "repeat 3 {",
        "let",
        "😀",
        "\u{202E}",
        "//",
        "\r",
        "network",
        "9e999",
        "\u{0}",
        "block b(",
        "é",
        "group(",
    ];
    let mut text = text.to_string();
    for _ in 0..=draw.below(4) {
        let at = boundary(&text, draw.below(text.len() + 1));
        match draw.below(4) {
            0 => {
                let end = boundary(&text, at + draw.below(40));
                text.replace_range(at..end.max(at), "");
            }
            1 => text.insert_str(at, PIECES[draw.below(PIECES.len())]),
            2 => text.truncate(at),
            _ => {
                let end = boundary(&text, at + draw.below(60)).max(at);
                let piece = text[at..end].to_string();
                let to = boundary(&text, draw.below(text.len() + 1));
                text.insert_str(to, &piece);
            }
        }
    }
    text
}

fn everything(client: &mut Client, uri: &str, text: &str, encoding: &str, draw: &mut Draw) {
    let document = json!({ "uri": uri });
    let end = json!({ "line": 100_000, "character": 7 });
    let range = json!({ "start": { "line": 0, "character": 0 }, "end": end });
    for method in ["documentSymbol", "foldingRange", "semanticTokens/full", "inlayHint", "codeAction", "formatting"] {
        let params = json!({ "textDocument": document, "range": range, "context": { "diagnostics": [] },
            "options": { "tabSize": 4, "insertSpaces": true } });
        client.get(&format!("textDocument/{method}"), params);
    }
    for _ in 0..8 {
        let offset = boundary(text, draw.below(text.len() + 1));
        let mut params = json!({ "textDocument": document, "position": position(text, offset, encoding),
            "context": { "includeDeclaration": true } });
        for method in ["hover", "completion", "definition", "references", "documentHighlight", "prepareRename"] {
            if method == "completion" {
                params["context"] = Value::Null;
            }
            client.get(&format!("textDocument/{method}"), params.clone());
            params["context"] = json!({ "includeDeclaration": true });
        }
        params["newName"] = json!("other");
        if let Err((code, message)) = client.ask("textDocument/rename", params) {
            assert_eq!(code, -32600, "{message}");
        }
    }
}

#[test]
fn broken_texts_are_answered() {
    let mut draw = Draw(7);
    let texts: Vec<String> = models().into_iter().map(|(_, text)| text).collect();
    for (encoding, count) in [("utf-8", 80), ("utf-16", 80), ("utf-32", 40)] {
        let (mut client, initialized) = Client::new(&[encoding]);
        assert_eq!(initialized["capabilities"]["positionEncoding"], encoding);
        for i in 0..count {
            let text = mutated(&texts[draw.below(texts.len())], &mut draw);
            let uri = uri(&format!("{i}.nin"));
            client.open(&uri, &text);
            everything(&mut client, &uri, &text, encoding, &mut draw);
        }
        client.close();
    }
}

/// Edits of ranges give the text that they say.
#[test]
fn changes_are_taken_over() {
    let mut draw = Draw(3);
    let (_, start) = models().swap_remove(0);
    for encoding in ["utf-8", "utf-16", "utf-32"] {
        let (mut client, _) = Client::new(&[encoding]);
        let mut text = format!("// größe 😀 é\r\n{start}");
        client.open(&uri("a.nin"), &text);
        for _ in 0..40 {
            let mut changes = vec![];
            for _ in 0..=draw.below(2) {
                // Not between the two halves of a line break, where no position is.
                let place = |draw: &mut Draw, text: &str| {
                    let at = boundary(text, draw.below(text.len() + 1));
                    if text[..at].ends_with('\r') { at - 1 } else { at }
                };
                let (a, b) = (place(&mut draw, &text), place(&mut draw, &text));
                let (from, to) = (a.min(b), b.min(a + 5).max(a.min(b)));
                let to = if text[..boundary(&text, to)].ends_with('\r') { from } else { boundary(&text, to).max(from) };
                let new = ["", "x", "é😀", "\n", "(", " |> relu"][draw.below(6)];
                let range = json!({ "start": position(&text, from, encoding), "end": position(&text, to, encoding) });
                changes.push(json!({ "range": range, "text": new }));
                text.replace_range(from..to, new);
            }
            let changed = client.change(&uri("a.nin"), json!(changes));
            let opened = client.open(&uri("b.nin"), &text);
            assert_eq!(without_uri(changed), without_uri(opened), "{encoding}: {text}");
            let tokens = |client: &mut Client, name: &str| {
                client.get("textDocument/semanticTokens/full", json!({ "textDocument": { "uri": uri(name) } }))
            };
            assert_eq!(tokens(&mut client, "a.nin"), tokens(&mut client, "b.nin"));
        }
        // The whole text at once.
        assert_eq!(client.change(&uri("a.nin"), json!([{ "text": start }])), Vec::<Value>::new());
        client.close();
    }
}

fn without_uri(list: Vec<Value>) -> String {
    Value::Array(list).to_string().replace("a.nin", "_").replace("b.nin", "_")
}

/// Lines that cannot be read leave the others their shapes.
#[test]
fn what_can_be_known_is_answered() {
    let (mut client, _) = Client::new(&["utf-8"]);
    let (name, text) = models().into_iter().find(|(name, _)| name == "cifar10.nin").expect("the model");
    let at = text.find("|> max_pool").expect("a pool");
    let typing = format!("{}|> conv(channels = {}", &text[..at], &text[at..]);
    let told = client.open(&uri(&name), &typing);
    assert!(!told.is_empty());
    let offset = typing.find("|> mlpconv").expect("a layer") + 4;
    let params = json!({ "textDocument": { "uri": uri(&name) }, "position": position(&typing, offset, "utf-8") });
    let hover = client.get("textDocument/hover", params)["contents"]["value"].to_string();
    assert!(hover.contains("parameters, ") && hover.contains("receptive field"), "{hover}");
    client.close();
}
