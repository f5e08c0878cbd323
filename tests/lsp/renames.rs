//! New names: refused where more than names would change; blocks that share their names with functions of sections.

use super::client::{Client, edited, models, position, uri};
use ninc::front;
use ninc::ops::Operator;
use serde_json::{Value, json};

fn at(uri: &str, text: &str, offset: usize) -> Value {
    json!({ "textDocument": { "uri": uri }, "position": position(text, offset, "utf-8") })
}

/// The text after a new name for the word that begins where `place` ends, or the refusal.
fn renamed(text: &str, place: &str, new: &str) -> Result<String, String> {
    let (mut client, _) = Client::new(&["utf-8"]);
    let uri = uri("net.nin");
    client.open(&uri, text);
    let mut params = at(&uri, text, text.find(place).unwrap_or_else(|| panic!("no {place}")) + place.len());
    params["newName"] = json!(new);
    let answer = client.ask("textDocument/rename", params);
    client.close();
    match answer {
        Ok(edit) => Ok(edited(text, edit["changes"][&uri].as_array().expect("edits"))),
        Err((_, message)) => Err(message),
    }
}

const GROUPS: &str = "network n(width = 8) {
    input image: [1, 8, 8]

    image
        |> conv(channels = width, kernel = 3) as norm1
        |> conv(channels = 4, kernel = 3)     as norm2
        |> cccp(channels = 4)
        |> global_avg_pool
        |> linear(10)                         as other
        |> softmax
}

data {
    source = digits
}

train {
    optimizer = sgd(rate = 0.1)
    groups    = [group(\"norm*.weight\", rate = 0), group(\"other\", decay = 0)]
    epochs    = 1
}
";

/// Which parameters each group is of, a sign for each.
fn grouped(text: &str) -> Vec<String> {
    let (model, diagnostics) = front::load(text, "net.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let name = |id| match model.graph.op(id) {
        Operator::Param(param) => param.name.clone(),
        other => panic!("{other:?}"),
    };
    let names: Vec<String> = model.layers.iter().flat_map(|layer| &layer.params).map(|&id| name(id)).collect();
    let groups = model.train.expect("a recipe").groups;
    let fits = |pattern: &str, name: &String| ninc_runtime::pattern::fits_parameter(pattern, name);
    groups.iter().map(|g| names.iter().map(|n| if fits(&g.pattern, n) { '+' } else { '-' }).collect()).collect()
}

#[test]
fn a_new_name_leaves_training_as_it_is() {
    for (place, new, why) in [
        ("as ", "stem", "the group `norm*.weight` would leave out `stem.weight` then"),
        ("          as ", "norm9", "the group `norm*.weight` would take in `norm9.weight` then"),
        // What a layer without a name has: it would get another number.
        ("          as ", "cccp1", "the layer `cccp1` would be `cccp2` then"),
    ] {
        let refusal = renamed(GROUPS, place, new).expect_err(new);
        assert!(refusal.contains(why), "{refusal}");
    }
    for (place, new) in [("as ", "norm3"), ("          as ", "head"), ("network n(", "channels")] {
        let text = renamed(GROUPS, place, new).unwrap_or_else(|e| panic!("{new}: {e}"));
        assert_eq!(grouped(&text), grouped(GROUPS), "{text}");
    }
    // Where the network is not all there, nobody knows.
    let broken = GROUPS.replace("linear(10)", "linaer(10)");
    assert!(renamed(&broken, "as ", "norm3").expect_err("errors").contains("mend it first"));
    // The name of a block is part of the names of its layers.
    let blocks = GROUPS.replace("network n", "block body(x) {\n    return x |> cccp(channels = 4)\n}\n\nnetwork n");
    let blocks =
        blocks.replace("|> cccp(channels = 4)\n        |> g", "|> body\n        |> g").replace("other\"", "body*\"");
    assert_eq!(grouped(&blocks)[1].matches('+').count(), 2, "{blocks}");
    let refusal = renamed(&blocks, "block ", "tail").expect_err("a pattern");
    assert!(refusal.contains("the group `body*` would leave out `tail1.cccp1.weight`"), "{refusal}");
}

/// Functions of `train` and `data`, and those of `init`, are no blocks, whatever these are called.
#[test]
fn functions_of_sections_are_no_blocks() {
    let (_, fast) = models().into_iter().find(|(name, _)| name == "fast94.nin").expect("the model");
    let text = renamed(&fast, "block ", "stage").expect("a free name");
    let (model, diagnostics) = front::load(&text, "net.nin", &[]);
    assert!(model.is_some() && diagnostics.is_empty(), "{diagnostics:?}");
    // The block and three calls; the two calls in `groups` stay.
    assert_eq!((text.matches("stage(").count(), text.matches(" group(").count()), (4, 2), "{text}");

    let text = "block normal(x, std = 4) {
    return x |> cccp(channels = std, init = normal(std = 0.1))
}

block sgd(x, rate) {
    return x |> cccp(channels = rate)
}

network n {
    defaults { init = normal(std = 0.2) }
    input image: [1, 8, 8]

    image |> normal(std = 3) |> sgd(rate = 10) |> global_avg_pool
}

data {
    source = digits
}

train {
    optimizer = sgd(rate = 0.1)
    epochs    = 1
}
";
    let same = |old: &str, new: &str, name: &str| text.replace(old, &old.replace(name, new));
    assert_eq!(
        renamed(text, "block ", "first"),
        Ok(same("block normal(", "first", "normal").replace("|> normal(", "|> first("))
    );
    assert_eq!(renamed(text, "sgd(x, ", "many").map(|t| t.matches("many").count()), Ok(3));
    let mut asked = Client::new(&["utf-8"]).0;
    asked.open(&uri("net.nin"), text);
    let language = ["init = normal", "(std = 0.1", "{ init = normal", "(std = 0.2", "optimizer = sgd", "sgd(rate = 0"];
    for place in language {
        let offset = text.find(place).expect("there") + place.len() - 4;
        let answer = asked.get("textDocument/prepareRename", at(&uri("net.nin"), text, offset));
        assert_eq!(answer, Value::Null, "{place}");
        let hover = asked.get("textDocument/hover", at(&uri("net.nin"), text, offset))["contents"]["value"].to_string();
        assert!(!hover.contains("block "), "{place}: {hover}");
    }
    for (place, proposed) in [("|> normal(", "std ="), ("|> sgd(", "rate ="), ("optimizer = sgd(", "momentum =")] {
        let offset = text.find(place).expect("there") + place.len();
        let list = asked.get("textDocument/completion", at(&uri("net.nin"), text, offset));
        let labels: Vec<&str> = list.as_array().expect("a list").iter().filter_map(|i| i["label"].as_str()).collect();
        assert!(labels.contains(&proposed), "{place}: {labels:?}");
        assert_eq!(labels.contains(&"momentum ="), place.contains("optimizer"), "{place}: {labels:?}");
    }
    asked.close();
}
