//! Every feature on every model.

use super::client::{Client, corpus, edited, models, position, uri};
use ninc::front::{self, outline};
use ninc::sizes;
use serde_json::{Value, json};

fn at(uri: &str, text: &str, offset: usize) -> Value {
    json!({ "textDocument": { "uri": uri }, "position": position(text, offset, "utf-8") })
}

fn whole(uri: &str, text: &str) -> Value {
    let range = json!({ "start": position(text, 0, "utf-8"), "end": position(text, text.len(), "utf-8") });
    json!({ "textDocument": { "uri": uri }, "range": range, "context": { "diagnostics": [] } })
}

fn hover(client: &mut Client, uri: &str, text: &str, word: &str) -> String {
    let offset = text.find(word).unwrap_or_else(|| panic!("no {word}")) + word.len() - 1;
    let answer = client.get("textDocument/hover", at(uri, text, offset));
    answer["contents"]["value"].as_str().unwrap_or("").to_string()
}

fn labels(client: &mut Client, uri: &str, text: &str, after: &str) -> Vec<String> {
    let offset = text.find(after).unwrap_or_else(|| panic!("no {after}")) + after.len();
    let list = client.get("textDocument/completion", at(uri, text, offset));
    list.as_array().expect("a list").iter().map(|item| item["label"].as_str().expect("a label").to_string()).collect()
}

/// The shapes of a network's layers, in order.
fn shapes(text: &str) -> Vec<Vec<usize>> {
    let (model, diagnostics) = front::load(text, "model.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:?}\n{text}"));
    model.layers.iter().map(|layer| model.graph.ty(layer.value).dims.clone()).collect()
}

#[test]
fn diagnostics_are_those_of_check() {
    let (mut client, _) = Client::new(&["utf-8"]);
    for (name, text) in models() {
        assert_eq!(client.open(&uri(&name), &text), Vec::<Value>::new(), "{name}");
    }
    let mut several = 0;
    for (name, text) in corpus() {
        let told = client.open(&uri(&name), &text);
        let (_, expected) = front::load(&text, &name, &[]);
        assert_eq!(told.len(), expected.len(), "{name}");
        several += usize::from(told.len() > 1);
        for (told, expected) in told.iter().zip(&expected) {
            assert_eq!(told["code"], expected.code, "{name}");
            assert_eq!(told["range"]["start"], position(&text, expected.span.start, "utf-8"), "{name}");
            assert!(told["message"].as_str().expect("a message").starts_with(&expected.message), "{name}");
            assert_eq!(told["relatedInformation"].as_array().expect("a list").len(), expected.labels.len(), "{name}");
        }
    }
    assert!(several >= 10, "{several} files have several");
    client.close();
}

/// What a fix does away with does not come again, and nothing becomes unreadable.
#[test]
fn code_actions_put_right_what_the_help_says() {
    let (mut client, _) = Client::new(&["utf-8"]);
    let mut fixed = 0;
    for (name, text) in corpus() {
        let told = client.open(&uri(&name), &text);
        let helps = told
            .iter()
            .filter(|d| d["message"].as_str().is_some_and(|m| m.contains("did you mean `") && !m.contains('…')))
            .count();
        let actions = client.get("textDocument/codeAction", whole(&uri(&name), &text));
        let actions = actions.as_array().expect("a list");
        let bad_set = told.iter().filter(|d| d["code"] == "bad-set").count();
        assert!(actions.len() + bad_set >= helps, "{name}: {helps} helps, {} actions", actions.len());
        for action in actions {
            let edits = action["edit"]["changes"][uri(&name)].as_array().expect("edits");
            let new = edited(&text, edits);
            let again = front::load(&new, &name, &[]).1;
            let d = &action["diagnostics"][0];
            // The same thing at the same place; what stands behind it may be wrong in the same way.
            let same = |e: &&front::diag::Diagnostic| {
                d["code"] == e.code && d["message"].as_str().is_some_and(|m| m.starts_with(&e.message))
            };
            let place = |e: &&front::diag::Diagnostic| position(&new, e.span.start, "utf-8") == d["range"]["start"];
            assert_eq!(again.iter().filter(same).find(place), None, "{name}: {}\n{new}", action["title"]);
            fixed += 1;
        }
    }
    assert!(fixed >= 25, "only {fixed} fixes");
    client.close();
}

#[test]
fn every_feature_answers_on_every_model() {
    let (mut client, initialized) = Client::new(&["utf-16", "utf-8"]);
    assert_eq!(initialized["capabilities"]["positionEncoding"], "utf-8");
    for (name, text) in models() {
        let uri = uri(&name);
        client.open(&uri, &text);
        let outline = outline::outline(&text);
        assert!(
            outline.words.iter().all(|word| word.role != outline::Role::Stray || word.text(&text) == "nin"),
            "{name}"
        );
        for word in &outline.words {
            let middle = word.span.start + 1;
            client.get("textDocument/hover", at(&uri, &text, middle));
            client.get("textDocument/definition", at(&uri, &text, middle));
            let uses = client.get("textDocument/references", {
                let mut params = at(&uri, &text, middle);
                params["context"] = json!({ "includeDeclaration": true });
                params
            });
            let highlights = client.get("textDocument/documentHighlight", at(&uri, &text, middle));
            assert_eq!(uses.as_array().expect("a list").len(), highlights.as_array().expect("a list").len());
            client.get("textDocument/completion", at(&uri, &text, word.span.start));
            client.get("textDocument/completion", at(&uri, &text, word.span.end));
        }
        let formatted = client.get("textDocument/formatting", {
            json!({ "textDocument": { "uri": uri }, "options": { "tabSize": 4, "insertSpaces": true } })
        });
        assert_eq!(edited(&text, formatted.as_array().expect("edits")), front::format(&text).expect("right"), "{name}");
        let hints = client.get("textDocument/inlayHint", whole(&uri, &text));
        let hints: Vec<&str> =
            hints.as_array().expect("a list").iter().map(|h| h["label"].as_str().expect("a label")).collect();
        for shape in shapes(&text) {
            assert!(
                hints.iter().any(|hint| hint.contains(&format!("{shape:?}")) || hint.contains('…')),
                "{name}: {shape:?}"
            );
        }
        let symbols = client.get("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
        assert_eq!(symbols.as_array().expect("a list").len(), outline.items.len(), "{name}");
        let folds = client.get("textDocument/foldingRange", json!({ "textDocument": { "uri": uri } }));
        assert!(folds.as_array().expect("a list").len() >= outline.items.len(), "{name}");
        let tokens = client.get("textDocument/semanticTokens/full", json!({ "textDocument": { "uri": uri } }));
        assert!(tokens["data"].as_array().expect("a list").len() >= 5 * outline.words.len(), "{name}");
    }
    client.close();
}

/// The figures behind each layer are those of `inspect`.
#[test]
fn hover_says_what_inspect_says() {
    let (mut client, _) = Client::new(&["utf-8"]);
    let (name, text) = models().into_iter().find(|(name, _)| name == "imagenet.nin").expect("the model");
    client.open(&uri(&name), &text);
    let model = front::load(&text, &name, &[]).0.expect("right");
    let rows = sizes::rows(&model.graph, &model.layers);
    let mut answers = String::new();
    for word in outline::outline(&text).words.iter().filter(|word| word.role == outline::Role::Function) {
        let answer = client.get("textDocument/hover", at(&uri(&name), &text, word.span.start));
        answers += answer["contents"]["value"].as_str().unwrap_or("");
    }
    for row in rows {
        let figures = ninc_runtime::words::grouped(row.multiply_adds);
        let [h, w] = row.receptive_field;
        let line = format!("**{}** `{:?}`: ", row.name, row.shape);
        let found = answers.lines().find(|l| l.contains(&line)).unwrap_or_else(|| panic!("no {line} in {answers}"));
        assert!(found.contains(&figures) && found.contains(&format!("receptive field {h}x{w}")), "{found}");
    }
    client.close();
}

const TEXT: &str = "block down(x, channels, kernel = 3) {
    let inner = x |> conv(channels = channels, kernel = kernel, pad = 1) as c
    return inner |> relu
}

network sample(width = 8, act = \"relu\") {
    input image: [3, 16, 16]

    let first = image |> down(channels = width) as low |> down(channels = 2 * width)
    first |> mlpconv(kernel = 3, channels = [16, 10], activation = act) as top |> global_avg_pool |> softmax
}

data {
    source  = cifar10
    augment = [flip(alternating = true), pad_crop(2, mode = reflect)]
}

train {
    optimizer = sgd(rate = 0.1 / width)
    groups    = [group(\"top.conv.weight\", rate = 2)]
    epochs    = 1
}
";

#[test]
fn names_are_found_and_renamed() {
    let (mut client, _) = Client::new(&["utf-8"]);
    let uri = uri("sample.nin");
    // An input that the data do not fit is nothing to names.
    let text = TEXT.replace("16, 16]\n", "32, 32]\n");
    assert_eq!(client.open(&uri, &text), Vec::<Value>::new());
    let before = shapes(&text);
    let mut renamed = 0;
    for word in &outline::outline(&text).words {
        let place = at(&uri, &text, word.span.start);
        let prepared = client.get("textDocument/prepareRename", place.clone());
        let definition = client.get("textDocument/definition", place.clone());
        assert_eq!(prepared.is_null(), definition.is_null(), "{}", word.text(&text));
        let mut params = place;
        params["newName"] = json!("brand_new");
        match client.ask("textDocument/rename", params.clone()) {
            Ok(edit) => {
                let new = edited(&text, edit["changes"][&uri].as_array().expect("edits"));
                let (model, diagnostics) = front::load(&new, "sample.nin", &[]);
                assert!(model.is_some() && diagnostics.is_empty(), "{}: {diagnostics:?}\n{new}", word.text(&text));
                assert_eq!(shapes(&new), before);
                assert!(!new.contains(&format!("{} = width", "brand_new")) || word.text(&text) == "channels");
                renamed += 1;
            }
            Err(_) => assert!(prepared.is_null(), "{}", word.text(&text)),
        }
        // A word of the language, a name in use, something that is not a name.
        for wrong in ["let", "image", "a b", "1a", ""] {
            params["newName"] = json!(wrong);
            let refused = client.ask("textDocument/rename", params.clone());
            let own = wrong == "image" && !matches!(word.text(&text), "first" | "width" | "act" | "top" | "low");
            assert!(refused.is_err() || own, "{} to {wrong:?}", word.text(&text));
        }
    }
    assert!(renamed >= 25, "{renamed} words are names");
    // The name of a layer in a pattern of `groups`.
    let mut params = at(&uri, &text, text.find("top |>").expect("there"));
    params["newName"] = json!("head");
    let edit = client.get("textDocument/rename", params);
    let new = edited(&text, edit["changes"][&uri].as_array().expect("edits"));
    assert!(new.contains("\"head.conv.weight\"") && new.contains("as head |>"), "{new}");
    client.close();
}

#[test]
fn hover_and_completion_know_the_language() {
    let (mut client, _) = Client::new(&["utf-8"]);
    let uri = uri("sample.nin");
    let text = TEXT;
    client.open(&uri, text);
    assert!(
        hover(&mut client, &uri, text, "as low |> down")
            .contains("**down1** `[16, 16, 16]`: 2 layers, 1,168 parameters")
    );
    assert!(hover(&mut client, &uri, text, "|> conv").contains("**low.c** `[8, 16, 16]`: 224 parameters"));
    assert!(hover(&mut client, &uri, text, "(kernel").contains("required"));
    assert!(hover(&mut client, &uri, text, "mode").contains("What the border is made of."));
    assert!(hover(&mut client, &uri, text, "optimizer").contains("`adamw(rate, "));
    assert!(hover(&mut client, &uri, text, "= cifar10").contains("Photographs of 32 x 32 pixels"));
    assert_eq!(hover(&mut client, &uri, text, "let first"), "`first` = `[16, 16, 16]`");
    assert!(hover(&mut client, &uri, text, "    let").contains("Gives a value or a constant a name."));
    assert_eq!(hover(&mut client, &uri, text, "0.1 / width"), "`width` = `8`");
    assert_eq!(hover(&mut client, &uri, text, "down(channels"), "`channels` = `8 · 16`");
    assert!(hover(&mut client, &uri, text, "network sample").contains("network **sample**: 7 layers"));

    let has = |labels: Vec<String>, all: &[&str], none: &[&str]| {
        assert!(all.iter().all(|l| labels.iter().any(|x| x == l)), "{all:?} in {labels:?}");
        assert!(none.iter().all(|l| labels.iter().all(|x| x != l)), "no {none:?} in {labels:?}");
    };
    let mut after = |text: &str, after: &str, all: &[&str], none: &[&str]| {
        client.open(&uri, text);
        has(labels(&mut client, &uri, text, after), all, none);
    };
    after(text, "return inner |> ", &["conv", "down", "repeat", "max_pool"], &["let", "sgd"]);
    after(text, "mlpconv(", &["kernel =", "channels =", "init =", "image"], &["conv"]);
    after(text, "mlpconv(kernel = 3, ", &["channels =", "frozen ="], &["kernel ="]);
    after(text, "activation = ", &["relu", "tanh", "width", "act"], &["conv"]);
    after(text, "as low |> down(", &["channels =", "kernel =", "width"], &["init ="]);
    after(text, "data {\n", &["source =", "valid ="], &["optimizer ="]);
    after(text, "source  = ", &["cifar10", "folder", "width"], &["sgd", "image"]);
    after(text, "augment = [", &["flip", "cutout"], &["sgd"]);
    after(text, "mode = ", &["zeros", "reflect"], &[]);
    after(text, "optimizer = ", &["sgd", "adamw"], &["flip"]);
    after(text, "sgd(", &["rate =", "momentum =", "width"], &["channels ="]);
    after(text, "epochs    = 1\n", &["schedule =", "batch ="], &["epochs =", "source ="]);
    after(text, "}\n\n", &["network", "block"], &["conv", "nin"]);
    after("// A file.\nn", "file.\n", &["nin", "network"], &["conv"]);
    after(text, "inner |> relu\n", &["as", "let"], &[]);
    after(text, "    let ", &[], &["conv", "let"]);
    after(text, "16, 16]\n\n", &["let", "output", "image", "concat"], &["return", "relu"]);
    after(text, "8, act = \"relu\") {\n", &["let", "input"], &["as"]);
    // While somebody types, nothing is closed.
    let typing = &text[..text.find("|> global").expect("there")];
    after(&format!("{typing} |> conv(init = "), "conv(init = ", &["he", "normal", "width"], &["conv"]);
    after(&format!("{typing} |> ma"), "|> ma", &["max_pool", "maxout"], &[]);
    client.close();
}

#[test]
fn uses_come_with_and_without_the_definition() {
    let (mut client, _) = Client::new(&["utf-8"]);
    let uri = uri("sample.nin");
    client.open(&uri, TEXT);
    let mut uses = |declaration: bool| {
        let mut params = at(&uri, TEXT, TEXT.find("first |>").expect("there"));
        params["context"] = json!({ "includeDeclaration": declaration });
        client.get("textDocument/references", params).as_array().expect("a list").len()
    };
    assert_eq!((uses(true), uses(false)), (2, 1));
    client.close();
}

/// Editors that do not encode their addresses are answered under the same ones.
#[test]
fn addresses_may_be_plain() {
    let (mut client, _) = Client::new(&["utf-8"]);
    for uri in ["file:///a b/ü.nin", "file:///a%20b/%C3%BC.nin", "file:///50%/[x].nin"] {
        assert_eq!(client.open(uri, &TEXT.replace("softmax", "sotfmax"))[0]["code"], "unknown-function", "{uri}");
        let place = at(uri, TEXT, TEXT.find("first |>").expect("there"));
        assert_eq!(client.get("textDocument/definition", place.clone())["uri"], uri);
        let mut params = place;
        params["newName"] = json!("begin");
        let edit = client.get("textDocument/rename", params);
        assert_eq!(edit["changes"][uri].as_array().map(Vec::len), Some(2), "{edit}");
    }
    client.close();
}
