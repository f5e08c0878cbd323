//! What differs between two trainings' recipes and preparations, in the words of model files and options.

use serde_json::{Map, Value};

/// Lists what differs between two recipes in JSON, a sentence for each.
pub(super) fn of_recipes(was: &str, now: &str) -> Vec<String> {
    let (was, now) = (parsed(was), parsed(now));
    let (Some(was), Some(now)) = (was.as_object(), now.as_object()) else { return vec![] };
    fields(was, now).flat_map(|(key, was, now)| setting(key, was, now)).collect()
}

/// Lists what differs between two preparations in JSON: steps, augmentations, and how pictures are read.
pub(super) fn of_pipelines(was: &str, now: &str) -> Vec<String> {
    let (was, now) = (parsed(was), parsed(now));
    let part = |index: usize| (&was[index], &now[index]);
    let mut found = vec![];
    for (name, (was, now)) in [("prepare", part(0)), ("augment", part(1))] {
        found.extend((was != now).then(|| changed(name, was, now)));
    }
    if let (Some(was), Some(now)) = (was[2].as_object(), now[2].as_object()) {
        found.extend(fields(was, now).map(|(key, was, now)| changed(key, was, now)));
    }
    found
}

/// The options that give a value of the recipe back, where it has one.
pub(super) fn options(was: &str, now: &str) -> String {
    let (was, now) = (parsed(was), parsed(now));
    let differs = |key: &str| Some(&was[key]).filter(|value| **value != now[key] && !value.is_null());
    let length = differs("length").and_then(Value::as_object).into_iter().flatten();
    let plain = ["batch", "seed"].into_iter().filter_map(|key| Some((key, differs(key)?)));
    let all = plain.chain(length.map(|(unit, count)| (unit.as_str(), count)));
    all.map(|(option, value)| format!(" --{option} {}", text(value))).collect()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// The fields of either side that are not the same on both.
fn fields<'a>(
    was: &'a Map<String, Value>,
    now: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a Value, &'a Value)> {
    let get = |map: &'a Map<String, Value>, key: &str| map.get(key).unwrap_or(&Value::Null);
    let added = now.keys().filter(|key| !was.contains_key(*key));
    let all = was.keys().chain(added).map(move |key| (key.as_str(), get(was, key), get(now, key)));
    all.filter(|(_, was, now)| was != now)
}

/// A setting of the recipe: one number of a call, where the function is the same on both sides.
fn setting(key: &str, was: &Value, now: &Value) -> Vec<String> {
    let one = |value: &Value| {
        let fields = value.as_object().filter(|fields| fields.len() == 1)?;
        fields.iter().next().map(|(name, of)| (name.clone(), of.clone()))
    };
    match (one(was), one(now)) {
        (Some((function, Value::Object(was))), Some((other, Value::Object(now)))) if function == other => {
            fields(&was, &now)
                .map(|(argument, was, now)| {
                    format!("`{argument}` of `{function}` was {} and is {}", text(was), text(now))
                })
                .collect()
        }
        (Some((unit, count)), Some((other, new))) if key == "length" => {
            vec![format!("the length was {} {unit} and is {} {other}", text(&count), text(&new))]
        }
        _ => vec![changed(key, was, now)],
    }
}

fn changed(name: &str, was: &Value, now: &Value) -> String {
    let name = if name == "patience" { "early_stop" } else { name };
    format!("`{name}` was {} and is {}", text(was), text(now))
}

/// A value as a model file writes it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "not set".into(),
        Value::String(word) => word.clone(),
        // A whole number without its fraction.
        Value::Number(number) => number.as_f64().map_or(number.to_string(), |v| v.to_string()),
        Value::Array(all) => format!("[{}]", all.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.len() == 1 => fields.iter().map(|(name, given)| called(name, given)).collect(),
        Value::Object(fields) => arguments(fields),
        other => other.to_string(),
    }
}

/// A function and its arguments; what is not set is left out.
fn called(function: &str, given: &Value) -> String {
    let Some(given) = given.as_object() else { return format!("{function}({})", text(given)) };
    let given = arguments(given);
    if given.is_empty() { function.into() } else { format!("{function}({given})") }
}

fn arguments(given: &Map<String, Value>) -> String {
    let given = given.iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| format!("{name} = {}", text(value))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_as_in_model_files() {
        let was = r#"{"optimizer":{"sgd":{"rate":0.05,"momentum":0.9}},"schedule":"constant","length":{"epochs":40.0},
            "batch":32,"clip":null,"class_weights":"balanced"}"#;
        let now = r#"{"optimizer":{"sgd":{"rate":0.1,"momentum":0.9}},"schedule":{"cosine":{"floor":0.0}},
            "length":{"steps":7},
            "batch":64,"clip":1.5,"class_weights":{"each":[1.0,2.0]}}"#;
        let mut changes = of_recipes(was, now);
        changes.sort();
        assert_eq!(
            changes,
            [
                "`batch` was 32 and is 64",
                "`class_weights` was balanced and is each([1, 2])",
                "`clip` was not set and is 1.5",
                "`rate` of `sgd` was 0.05 and is 0.1",
                "`schedule` was constant and is cosine(floor = 0)",
                "the length was 40 epochs and is 7 steps",
            ]
        );
        assert_eq!(options(was, now), " --batch 32 --epochs 40");
        assert_eq!(of_recipes(was, was), Vec::<String>::new());
        let was = r#"[[{"mean_std":{"mean":null,"std":null}}],[{"shift":1}],{"grey":"rec601","background":[0,0,0]}]"#;
        let now = r#"[[{"scale":{"factor":0.5}}],[{"shift":1}],{"grey":"rec709","background":[0,0,0]}]"#;
        let changes = of_pipelines(was, now);
        assert_eq!(
            changes,
            ["`prepare` was [mean_std] and is [scale(factor = 0.5)]", "`grey` was rec601 and is rec709"]
        );
        assert_eq!(
            of_pipelines("", now),
            ["`prepare` was not set and is [scale(factor = 0.5)]", "`augment` was not set and is [shift(1)]"]
        );
    }
}
