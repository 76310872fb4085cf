//! The rules of the house, held by a test: every failure names file, line, rule and remedy.
//!
//! The floors are the file map of ARCHITECTURE.md itself: a file may import only what stands above it in the map of its
//! crate. So the document cannot go stale, and a circle or an upward arrow cannot come in unseen.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What each crate may depend on, of ours. Nothing points up.
const CRATES: [(&str, &str, &[&str]); 7] = [
    ("protocol", "protocol/src", &[]),
    ("storage", "storage/src", &["protocol"]),
    ("broker", "broker/src", &["protocol", "storage"]),
    ("client", "client/src", &["protocol"]),
    ("sql", "sql/src", &[]),
    ("processor", "processor/src", &["client", "protocol", "sql"]),
    ("thalweg", "src", &["broker", "client", "processor", "protocol", "sql", "storage"]),
];

/// One door for each outside thing: a piece of text, the files that may hold it, and what to use instead.
const DOORS: [(&str, &[&str], &str); 6] = [
    ("std::fs", &["storage/src/disk.rs", "src/"], "go through storage's Disk"),
    (
        "SystemTime",
        &["broker/src/time.rs", "client/src/clock.rs", "processor/src/clock.rs", "src/"],
        "take the time as an argument",
    ),
    ("std::env::var", &["src/"], "take it as an argument; src/args.rs reads the environment"),
    ("std::process::exit", &[], "return; only main leaves"),
    ("unsafe {", &[], "there is no unsafe code in this house"),
    ("thread::sleep", &[], "wait for a condition with a deadline"),
];

/// Words that promise work not done, or silence a rule.
const BANNED: [(&str, &str); 6] = [
    ("todo!(", "do it"),
    ("unimplemented!(", "do it"),
    ("dbg!(", "remove it"),
    ("FIXME", "mend it, or write an issue"),
    ("#[ignore", "a test runs or is removed"),
    ("#[allow(", "use #[expect(..., reason = \"...\")]"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below `folder`, by its path from the root.
fn sources(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// The text without its tests, without comments: what the rules for code are about.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]"
            && let Some(next) = lines.peek()
        {
            // Tests in a file of their own are declared among the other modules, with code behind them.
            if next.starts_with("mod ") && next.ends_with(';') {
                lines.next();
                continue;
            }
            // Else they stand at the end, perhaps with an attribute between.
            if next.starts_with("mod ") || next.starts_with("#[") {
                break;
            }
        }
        let cut = line.find("//").unwrap_or(line.len());
        let _ = writeln!(code, "{}", &line[..cut]);
    }
    code
}

/// The file map of ARCHITECTURE.md: for each crate its files, in the order of the floors.
fn file_map() -> BTreeMap<&'static str, Vec<String>> {
    let text = read("ARCHITECTURE.md");
    let mut map: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (_, folder, _) in CRATES {
        map.insert(folder, Vec::new());
    }
    let mut folder = None;
    for line in text.lines() {
        if line.starts_with('#') {
            folder = CRATES
                .iter()
                .map(|(_, folder, _)| *folder)
                .find(|folder| line.contains(&format!("`{folder}/`")));
        }
        if let (Some(folder), Some(row)) = (folder, line.strip_prefix("| `"))
            && let Some((file, _)) = row.split_once('`')
            && file.ends_with(".rs")
        {
            map.entry(folder).or_default().push(format!("{folder}/{file}"));
        }
    }
    map
}

/// The file that holds the module of a path such as `shard::core::Core`, seen from the source folder of a crate.
fn file_of(folder: &str, path: &[&str], files: &BTreeSet<String>) -> Option<String> {
    (1..=path.len()).rev().find_map(|length| {
        let module = path[..length].join("/");
        [format!("{folder}/{module}.rs"), format!("{folder}/{module}/mod.rs")]
            .into_iter()
            .find(|file| files.contains(file))
    })
}

/// `super::` written out as seen from the module of `file`.
fn without_super(folder: &str, file: &str, code: &str) -> String {
    let module = file.trim_start_matches(folder).trim_start_matches('/').trim_end_matches(".rs");
    let module = module.trim_end_matches("/mod");
    let parts: Vec<&str> = module.split('/').collect();
    let mut code = code.to_owned();
    for up in (1..=parts.len()).rev() {
        let parent = parts[..parts.len() - up].join("::");
        let parent =
            if parent.is_empty() { "crate::".to_owned() } else { format!("crate::{parent}::") };
        code = code.replace(&"super::".repeat(up), &parent);
    }
    code
}

/// Paths that begin with `crate::` in the code, with `use` groups spelled out.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find("crate::") {
        rest = &rest[start + "crate::".len()..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(rest.len());
        let base = rest[..end].trim_end_matches(':').to_owned();
        if rest[end..].starts_with('{') {
            for item in group(&rest[end..]) {
                paths.push(format!("{base}::{item}").trim_start_matches(':').to_owned());
            }
        } else {
            paths.push(base);
        }
    }
    paths
}

/// The members of `{a, b::c, d::{e, f}}`, each as a path.
fn group(text: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut depth = 0;
    let mut member = String::new();
    for c in text.chars() {
        match c {
            '{' => {
                depth += 1;
                if depth > 1 {
                    member.push(c);
                }
            }
            '}' if depth == 1 => {
                members.push(std::mem::take(&mut member));
                break;
            }
            '}' => {
                depth -= 1;
                member.push(c);
            }
            ',' if depth == 1 => members.push(std::mem::take(&mut member)),
            c if c.is_whitespace() => {}
            c => member.push(c),
        }
    }
    let spelled = members.into_iter().filter(|member| !member.is_empty()).flat_map(|member| {
        match member.find('{') {
            Some(open) => {
                let base = member[..open].trim_end_matches(':').to_owned();
                group(&member[open..]).into_iter().map(|item| format!("{base}::{item}")).collect()
            }
            None => vec![member],
        }
    });
    spelled.collect()
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_file_map_of_architecture_md_equals_the_tree() {
    let map = file_map();
    let mut problems = Vec::new();
    for (_, folder, _) in CRATES {
        let listed: BTreeSet<_> = map[folder].iter().cloned().collect();
        let there = sources(folder);
        problems.extend(there.difference(&listed).map(|file| {
            format!(
                "{file}: not in the file map of ARCHITECTURE.md; add a row where its imports allow"
            )
        }));
        problems.extend(listed.difference(&there).map(|file| {
            format!(
                "{file}: in the file map of ARCHITECTURE.md, but not in the tree; remove the row"
            )
        }));
        if listed.len() != map[folder].len() {
            problems.push(format!("{folder}: a file stands twice in the file map"));
        }
    }
    report(&problems);
}

/// A file or folder that a section of ARCHITECTURE.md names between back quotes.
struct Place {
    path: String,
    /// What it names of it, between back quotes behind it: functions and types.
    names: Vec<String>,
    /// The line that names it.
    line: String,
}

/// The places of a section. A name without its folder stands near the one before it. In a row of a table, functions and
/// types stand in the column of places only.
fn places_of(section: &str) -> Vec<Place> {
    let text = read("ARCHITECTURE.md");
    let body = text.split(&format!("## {section}\n")).nth(1).unwrap_or_default();
    let body = body.split("\n## ").next().unwrap_or_default();
    let mut folder = PathBuf::new();
    let mut places: Vec<Place> = Vec::new();
    for line in body.lines() {
        for (column, cell) in line.split('|').enumerate() {
            for word in cell.split('`').skip(1).step_by(2) {
                if word.ends_with(".rs") || word.ends_with('/') {
                    // In the folder of the place before, or in one above it.
                    let mut near = folder.ancestors().map(|folder| folder.join(word));
                    let there = near.find(|place| root().join(place).exists());
                    let place = there.unwrap_or_else(|| PathBuf::from(word));
                    folder = place.parent().map(Path::to_path_buf).unwrap_or_default();
                    let path = place.to_str().unwrap().to_owned();
                    places.push(Place { path, names: Vec::new(), line: line.to_owned() });
                } else if (!line.starts_with('|') || column == 2)
                    && let Some(place) = places.last_mut()
                {
                    place.names.push(word.to_owned());
                }
            }
        }
    }
    places
}

/// Whether code declares a function or type of this name.
fn declares(code: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    ["fn", "struct", "enum", "trait", "type"].iter().any(|word| {
        let declared = format!("{word} {name}");
        code.match_indices(&declared).any(|(at, _)| ends(&code[at + declared.len()..]))
    })
}

#[test]
fn the_ways_in_architecture_md_lead_to_functions_that_exist() {
    let mut problems = Vec::new();
    // Each with the least number of files that it names, and whether each row of its table names a function or type.
    for (section, least, names_all) in [
        ("The way of a produced record", 20, true),
        ("The way of a fetched record", 10, true),
        ("The way of a statement and of its rows", 8, false),
        ("Who owns what", 3, false),
    ] {
        let mut problem = |what: &str, line: &str| {
            problems
                .push(format!("ARCHITECTURE.md, {section}: {what}; correct this step:\n  {line}"));
        };
        let places = places_of(section);
        if places.len() < least {
            problem(&format!("{} files, at least {least} are expected", places.len()), "all of it");
        }
        for Place { path, names, line } in &places {
            if !root().join(path).exists() {
                problem(&format!("{path} does not exist"), line);
                continue;
            }
            let code = if names.is_empty() { String::new() } else { code(&read(path)) };
            for name in names.iter().filter(|name| !declares(&code, name)) {
                problem(&format!("{path} declares no function or type {name}"), line);
            }
            let is_named = |place: &Place| place.line == *line && !place.names.is_empty();
            if names_all && !places.iter().any(is_named) {
                problem("no function or type stands behind a file", line);
            }
        }
    }
    report(&problems);
}

#[test]
fn no_import_points_up() {
    let map = file_map();
    let mut problems = Vec::new();
    for (_, folder, _) in CRATES {
        let files = sources(folder);
        let floor: BTreeMap<&String, usize> = map[folder].iter().zip(0..).collect();
        for file in &map[folder] {
            // Faces declare and re-export; they may name everything below them. Tests may look at everything.
            if ["/lib.rs", "/mod.rs", "/main.rs", "/tests.rs", "/testing.rs"]
                .iter()
                .any(|end| file.ends_with(end))
            {
                continue;
            }
            let code = without_super(folder, file, &code(&read(file)));
            for path in crate_paths(&code) {
                let parts: Vec<&str> = path.split("::").collect();
                let Some(target) = file_of(folder, &parts, &files) else {
                    if parts[0].chars().next().is_some_and(char::is_uppercase) {
                        problems.push(format!("{file}: imports crate::{path} through the face; name the file that holds it"));
                    }
                    continue;
                };
                if target != *file && floor.get(&target) >= floor.get(file) {
                    problems.push(format!("{file}: imports {target}, which stands below it in the file map: an arrow up; move what is shared further down, or the row"));
                }
            }
        }
    }
    problems.sort();
    problems.dedup();
    report(&problems);
}

#[test]
fn crates_depend_only_downwards() {
    let mut problems = Vec::new();
    for (name, folder, allowed) in CRATES {
        let manifest = Path::new(folder).parent().unwrap().join("Cargo.toml");
        let manifest: toml::Table = read(manifest.to_str().unwrap()).parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for (other, _, _) in CRATES {
            if dependencies.contains_key(other) && !allowed.contains(&other) {
                problems.push(format!("{name} depends on {other}: that arrow points up"));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_file_says_what_it_is_for_and_keeps_to_its_door() {
    let mut problems = Vec::new();
    let folders = ["tests", "benches", "examples"]
        .into_iter()
        .chain(CRATES.iter().map(|(_, folder, _)| *folder));
    for folder in folders.filter(|folder| root().join(folder).exists()) {
        for file in sources(folder) {
            let text = read(&file);
            if !text.starts_with("//!") {
                problems.push(format!("{file}:1: does not say what it is for; open it with `//!`"));
            }
            if file == "tests/tidy.rs" {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                for (word, remedy) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
                    // Generated code brings lints of its own.
                    if !(*word == "#[allow(" && file.starts_with("protocol/src/grpc")) {
                        problems.push(format!("{file}:{}: `{word}`; {remedy}", number + 1));
                    }
                }
            }
            let is_product = CRATES.iter().any(|(_, folder, _)| file.starts_with(folder));
            if is_product {
                let code = code(&text);
                for (word, allowed, remedy) in DOORS {
                    if code.contains(word) && !allowed.iter().any(|door| file.starts_with(door)) {
                        problems.push(format!("{file}: `{word}` outside its door; {remedy}"));
                    }
                }
            }
        }
    }
    report(&problems);
}

/// Compares a table rendered from the code with the document that shows it.
fn shows(document: &str, table: &str, problems: &mut Vec<String>) {
    if !read(document).contains(table.trim_end()) {
        problems
            .push(format!("{document} does not show this table, which the code renders:\n{table}"));
    }
}

#[test]
fn documents_show_what_the_code_renders() {
    let mut problems = Vec::new();
    let (broker_settings, topic_settings) = broker::Config::render_tables();
    shows("docs/settings.md", &broker_settings, &mut problems);
    shows("docs/settings.md", &topic_settings, &mut problems);

    let mut metrics = String::from("| name | unit | meaning |\n|---|---|---|\n");
    for (name, unit, meaning) in broker::metrics::NAMES {
        let _ = writeln!(metrics, "| `{name}` | {unit} | {meaning} |");
    }
    shows("docs/settings.md", &metrics, &mut problems);

    let mut outcomes = String::from(
        "| outcome | Kafka code | gRPC status | may retry | may have happened | exit code | what to do |\n|---|---|---|---|---|---|---|\n",
    );
    for outcome in protocol::outcome::Outcome::ALL {
        let row = outcome.row();
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let _ = writeln!(
            outcomes,
            "| `{}` | {} | {:?} | {} | {} | {} | {} |",
            row.name,
            row.kafka_code,
            row.grpc,
            yes(outcome.may_retry()),
            yes(outcome.may_have_happened()),
            row.exit_code,
            row.advice
        );
    }
    shows("docs/protocol.md", &outcomes, &mut problems);

    let mut layout = String::from("| bytes | field | meaning |\n|---|---|---|\n");
    for field in protocol::batch::LAYOUT {
        let _ = writeln!(
            layout,
            "| {}..{} | `{}` | {} |",
            field.bytes.start, field.bytes.end, field.name, field.meaning
        );
    }
    shows("docs/format.md", &layout, &mut problems);
    report(&problems);
}
