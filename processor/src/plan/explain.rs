//! A plan in words: one line for each step, the last step first, what it works on indented below it.

use super::logical::Plan;

/// The lines of a plan.
pub fn explain(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    write(plan, 0, &mut lines);
    lines
}

fn write(plan: &Plan, depth: usize, lines: &mut Vec<String>) {
    let (text, input) = match plan {
        Plan::Scan(scan) => {
            let (key, value) = (scan.layout.key.format, scan.layout.value.format);
            let topic = &scan.topic;
            (format!("SCAN {} (topic {topic}, key {key}, value {value})", scan.source), None)
        }
        Plan::Filter { input, condition } => {
            (format!("FILTER {}", condition.to_text()), Some(input))
        }
        Plan::Project { input, schema, key, value } => {
            let columns = schema.columns().map(|(_, column)| column).zip(key.iter().chain(value));
            let computed: Vec<String> = columns
                .map(|(column, from)| format!("{} := {}", column.name, from.to_text()))
                .collect();
            (format!("PROJECT {}", computed.join(", ")), Some(input))
        }
    };
    lines.push(format!("{}{text}", "  ".repeat(depth)));
    if let Some(input) = input {
        write(input, depth + 1, lines);
    }
}
