//! The figures as Markdown.

use std::fmt::Write as _;

use crate::plan::{Plan, Section};
use crate::results::{Column, Results, Row};
use crate::stats::Spread;
use crate::targets::{self, Bound};

/// The load averages of the machine over 1, 5 and 15 minutes; empty where there are none.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Everything that was measured.
pub(crate) fn render(plan: &Plan, results: &Results, load_before: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", machine(plan, load_before));
    for section in Section::ALL {
        let rows: Vec<_> = results.rows(section).collect();
        if !rows.is_empty() {
            let _ = writeln!(text, "\n## {}\n\n{}", section.name(), table(&rows));
        }
    }
    let _ = write!(text, "\n## targets\n\n{}", target_table(results));
    text
}

fn machine(plan: &Plan, load_before: &str) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} × {model}, Linux {}; {} rounds of {} ms; load average {load_before} before, {} after.\n\
         Median (least–greatest). MB are 10^6 bytes of record values.\n\
         CPU: over gRPC that of the broker's process, in process that of client and broker together.",
        kernel.trim(),
        plan.rounds,
        plan.window.as_millis(),
        load_average(),
    )
}

fn table(rows: &[&Row]) -> String {
    let mut columns: Vec<Column> = Vec::new();
    for column in rows.iter().flat_map(|row| row.columns()) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let heads: String = columns.iter().map(|column| format!(" {} |", column.head())).collect();
    let rule = "---|".repeat(columns.len());
    let mut text = format!("| what |{heads}\n|---|{rule}\n");
    for row in rows {
        let cells: String =
            columns.iter().map(|column| format!(" {} |", cell(row.spread(*column)))).collect();
        let _ = writeln!(text, "| {} |{cells}", row.name);
    }
    text
}

fn cell(spread: Option<Spread>) -> String {
    match spread {
        None => String::new(),
        Some(Spread { median, least, greatest }) => {
            format!("{} ({}–{})", number(median), number(least), number(greatest))
        }
    }
}

fn target_table(results: &Results) -> String {
    let mut text = String::from("| what | reached | target | |\n|---|---|---|---|\n");
    for target in targets::targets(results) {
        let Some(reached) = target.reached else { continue };
        let verdict = if target.bound.is_met(reached) { "met" } else { "**not met**" };
        let bound = match target.bound {
            Bound::AtLeast(bound) => format!("≥ {}", number(bound)),
            Bound::AtMost(bound) => format!("≤ {}", number(bound)),
        };
        let _ = writeln!(text, "| {} | {} | {bound} | {verdict} |", target.what, number(reached));
    }
    text
}

/// Three digits that count, thousands apart.
fn number(figure: f64) -> String {
    if figure.abs() >= 1000.0 {
        let digits = format!("{figure:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if figure.abs() >= 100.0 {
        format!("{figure:.0}")
    } else if figure.abs() >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}
