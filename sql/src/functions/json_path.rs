//! Paths into JSON, as `$.a.b[0]['c d'].*`: read, and followed.

use serde_json::Value as Json;

use crate::error::RowCause;

/// One step of a path: a name, a position, or all there are (`[*]`, `.*`).
#[derive(Clone, Debug)]
pub(super) enum Step {
    Name(String),
    Index(usize),
    All,
}

/// Reads a path such as `$.a.b[0]['c d'].*`.
pub(super) fn read(path: &str) -> Result<Vec<Step>, RowCause> {
    let refused = || RowCause::argument(path, "a path such as $.name[0]");
    let mut rest = path.trim().strip_prefix('$').ok_or_else(refused)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(match &after[..end] {
                "" => return Err(refused()),
                "*" => Step::All,
                name => Step::Name(name.to_owned()),
            });
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
            let close = quote.map_or("]".to_owned(), |quote| format!("{quote}]"));
            let inside = &after[quote.map_or(0, char::len_utf8)..];
            let (key, behind) = inside.split_once(close.as_str()).ok_or_else(refused)?;
            steps.push(match (quote, key) {
                (Some(_), name) => Step::Name(name.to_owned()),
                (None, "*") => Step::All,
                (None, index) => Step::Index(index.trim().parse().map_err(|_| refused())?),
            });
            rest = behind;
        } else {
            return Err(refused());
        }
    }
    Ok(steps)
}

/// What stands at the path; `None` when there is nothing.
pub(super) fn find(mut json: Json, steps: &[Step]) -> Option<Json> {
    for (index, step) in steps.iter().enumerate() {
        json = match (step, json) {
            (Step::Name(name), Json::Object(mut object)) => object.remove(name)?,
            (Step::Index(index), Json::Array(mut array)) if *index < array.len() => {
                array.swap_remove(*index)
            }
            (Step::All, Json::Array(array)) => {
                return all_at(array.into_iter(), &steps[index + 1..]);
            }
            (Step::All, Json::Object(object)) => {
                return all_at(object.into_iter().map(|(_, value)| value), &steps[index + 1..]);
            }
            _ => return None,
        };
    }
    Some(json)
}

/// The rest of the path from each of the values; those where it leads nowhere are left out.
fn all_at(values: impl Iterator<Item = Json>, steps: &[Step]) -> Option<Json> {
    Some(Json::Array(values.filter_map(|value| find(value, steps)).collect()))
}
