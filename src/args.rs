//! Every flag, argument and environment name of the program, in one table: help, completions and their tests are read
//! from it. What was typed only; what it means is for the commands. What is not a flag and yet comes from the
//! environment is in [`Environment`].

mod environment;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args as Flags, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use protocol::compression::Compression;
use protocol::id::{Partition, TopicName};
use protocol::limits::PARTITIONS_PER_TOPIC_MAX;

pub(crate) use self::environment::Environment;
use crate::exit;
use crate::output::OutputFormat;
use crate::text::{Moment, Rate, Setting, StartAt};

/// An event-streaming platform in one binary: a durable log, a broker, SQL over streams, and this command line.
///
/// First steps:
///   thalweg serve                                     start a broker here
///   thalweg topic create ratings                      make a place for records
///   echo '{"stars":1}' | thalweg produce ratings      write a record
///   thalweg consume ratings                           read them all, then what comes
///   thalweg sql                                       ask questions
///   thalweg demo                                      see all of it in a few seconds
#[derive(Debug, Parser)]
#[command(
    name = "thalweg",
    version,
    verbatim_doc_comment,
    max_term_width = 110,
    after_long_help = exit::codes_help(),
    after_help = "`thalweg --help` also lists the exit codes."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// The environment's names that any command takes, beside those of the broker's settings.
    pub(crate) fn variables() -> Vec<String> {
        let mut names = vec![environment::LOG_FILTER.to_owned()];
        let mut commands = vec![Self::command()];
        while let Some(command) = commands.pop() {
            let of_flags = command.get_arguments().filter_map(clap::Arg::get_env);
            names.extend(of_flags.map(|name| name.to_string_lossy().into_owned()));
            commands.extend(command.get_subcommands().cloned());
        }
        names
    }
}

/// What every command takes.
#[derive(Clone, Debug, Flags)]
pub(crate) struct Global {
    /// Address of the broker's gRPC door; http:// may stand before it
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "THALWEG_SERVER",
        hide_env_values = true,
        default_value = "127.0.0.1:9093",
        value_hint = ValueHint::Hostname,
        help_heading = "Everywhere"
    )]
    pub(crate) server: String,
    /// For whom to write: tables for people, or one JSON object a line (errors too, on standard error)
    #[arg(
        long,
        global = true,
        value_name = "FORM",
        value_enum,
        default_value_t,
        help_heading = "Everywhere"
    )]
    pub(crate) output: OutputFormat,
    /// Leave out progress and summaries; errors are still written (default: they are shown)
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a broker with its SQL engine, until Ctrl-C or SIGTERM
    Serve(ServeArgs),
    /// Show what this is in a few seconds: ratings into a log, a query over them, a crash in the middle
    ///
    /// A broker of its own, in a second process on free ports, with its data in a temporary folder. Ratings flow in while a
    /// query derives the poor ones into a topic of their own; half way through, the broker is killed with kill -9 and
    /// starts again; at the end the derived topic is compared with a recount. Takes a little longer than --seconds.
    Demo(DemoArgs),
    /// Create, list, describe, change and delete topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Write records to a topic, one for each line of a file or of standard input
    ///
    /// Empty lines are no records, as with kcat: they are left out and counted, unless --keep-empty is given.
    ///
    /// Returns when every record is acknowledged, as durable as its topic asks. Memory stays bounded however long the
    /// input is. The exit code is not 0 if any record was not acknowledged, and the error says how many.
    Produce(ProduceArgs),
    /// Read records from a topic and write them to standard output
    ///
    /// Reads what is there, then waits for more until Ctrl-C, --limit or --exit-at-end. Partitions are read side by
    /// side; the order is kept inside each.
    Consume(ConsumeArgs),
    /// Ask in SQL: interactively, from a file, or one statement
    ///
    /// Without -e and -f, and with a terminal: a shell with history. Statements end with a semicolon and may span lines;
    /// Ctrl-C ends the running query, Ctrl-D leaves. Without a terminal, statements are read from standard input.
    Sql(SqlArgs),
    /// Make up ratings or customers, for trying things out
    Datagen(DatagenArgs),
    /// Look into a data folder without a broker: topics, segments, batches, damage
    ///
    /// Reads only; the folder is not changed. Of a folder in use by a broker it shows what is on disk at that moment, where
    /// an unfinished last batch is no damage.
    Inspect(InspectArgs),
    /// Write the completion script of a shell to standard output
    ///
    /// For bash: thalweg completions bash > ~/.local/share/bash-completion/completions/thalweg
    Completions(CompletionsArgs),
}

/// Flags of `serve`.
#[derive(Debug, Flags)]
pub(crate) struct ServeArgs {
    /// Where topics and their records are kept; made if it is missing (default: setting data_dir, ./thalweg-data)
    #[arg(
        long,
        value_name = "DIR",
        env = "THALWEG_DATA_DIR",
        hide_env_values = true,
        value_hint = ValueHint::DirPath
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// A TOML file of settings, docs/settings.md (default: none); the environment (THALWEG_ and the name in capitals)
    /// wins over it, flags win over both
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Address of the gRPC door, an IP address with a port; port 0 takes a free one (default: setting grpc_listen,
    /// 127.0.0.1:9093)
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) grpc_listen: Option<String>,
    /// Address of the HTTP door, for probes and metrics, an IP address with a port (default: setting http_listen,
    /// 127.0.0.1:9094)
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http_listen: Option<String>,
    /// A setting of the broker, for example durability=sync, interval or os; docs/settings.md has units and defaults
    /// (default: none); may be given many times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<Setting>,
    /// Check and exit, with nothing changed (default: run)
    ///
    /// Checked are the names and values of all settings, wherever they come from; that the data folder is one, or that a
    /// file can be made where it would be made; and that no newer release wrote it. Not checked: whether the addresses are
    /// free, whether another process holds the folder, and what lies in it (`thalweg inspect`).
    #[arg(long)]
    pub(crate) check: bool,
}

/// Flags of `demo`.
#[derive(Debug, Flags)]
pub(crate) struct DemoArgs {
    /// Go on when the tour is over, until Ctrl-C, so that other terminals can look around (default: exit)
    #[arg(long)]
    pub(crate) keep_running: bool,
    /// Ratings per second
    #[arg(long, value_name = "R/s", default_value = "50", allow_negative_numbers = true)]
    pub(crate) rate: Rate,
    /// How long ratings flow, in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = 16, value_parser = whole(1..=86_400))]
    pub(crate) seconds: u64,
    /// Where the made-up data starts from: the same seed gives the same ratings
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = whole(0..=u64::MAX))]
    pub(crate) seed: u64,
}

/// The commands of `topic`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic; when it returns, the topic takes records and survives a crash
    Create {
        /// Name: 1 to 249 of the characters a-z A-Z 0-9 . _ -
        name: TopicName,
        /// Number of partitions, 1 to 10000 (default: the broker's, setting default_partitions)
        #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = partitions())]
        partitions: Option<u32>,
        /// A setting by Kafka's name, for example retention.ms=86400000 (default: the broker's); may be given many times
        #[arg(long = "set", value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
        /// Succeed when the topic is there already, and leave it as it is (default: fail)
        #[arg(long)]
        if_not_exists: bool,
    },
    /// List the topics
    List {
        /// Also list the topics that the broker keeps for itself: those whose names begin with _thalweg (default: they are
        /// left out)
        #[arg(long, short, visible_alias = "internal")]
        all: bool,
    },
    /// Show a topic: its partitions with their offsets, its settings
    Describe {
        /// Name of the topic
        name: TopicName,
    },
    /// Change settings of a topic, or add partitions
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Alter {
        /// Name of the topic
        name: TopicName,
        /// New number of partitions, more than now: keys then go elsewhere (default: as it is)
        #[arg(long, short, value_name = "N", group = "change", allow_negative_numbers = true, value_parser = partitions())]
        partitions: Option<u32>,
        /// A setting to set, by Kafka's name (default: as it is); may be given many times
        #[arg(long = "set", value_name = "KEY=VALUE", group = "change")]
        settings: Vec<Setting>,
        /// A setting to put back to the broker's default (default: none); may be given many times
        #[arg(long = "reset", value_name = "KEY", group = "change")]
        resets: Vec<String>,
    },
    /// Delete a topic with all its records; this cannot be undone
    Delete {
        /// Name of the topic
        name: TopicName,
        /// Succeed when there is no such topic (default: fail)
        #[arg(long)]
        if_exists: bool,
        /// Do not ask (default: ask on a terminal, and refuse without one)
        #[arg(long, short)]
        yes: bool,
    },
}

/// How lines become records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Each line is a value
    Lines,
    /// Each line is a JSON object with "value" and, where wanted, "key", "headers", "timestamp" (epoch ms) and "partition"
    Jsonl,
}

/// Flags of `produce`.
#[derive(Debug, Flags)]
pub(crate) struct ProduceArgs {
    /// Topic to write to; it must exist
    pub(crate) topic: TopicName,
    /// File to read; - or nothing for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// How lines become records
    ///
    /// With jsonl, "value" and "key" may be strings, null, or any other JSON, which is kept as its text; bytes that are
    /// no text go into "value_base64" and "key_base64", or {"base64": "…"} in the place of a string. "headers" is an
    /// object or an array of [name, value] pairs. What `consume --format json` writes is read back as the same records.
    #[arg(long, short, value_name = "FORM", value_enum, default_value = "lines")]
    pub(crate) format: InputFormat,
    /// Text between key and value of a line, with \t \n \xHH; the first one counts (default: lines have no key)
    #[arg(
        long,
        short = 'K',
        value_name = "SEP",
        allow_hyphen_values = true,
        conflicts_with = "key_field"
    )]
    pub(crate) key_separator: Option<String>,
    /// Field of a JSON line that is the key, nested with dots: customer.id (default: lines have no key)
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) key_field: Option<String>,
    /// A header for every record, before those of the line (default: none); may be given many times
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub(crate) headers: Vec<Setting>,
    /// Partition to write to, from 0 (default: where the key belongs, as Kafka places it; without a key, batch by batch
    /// in turn)
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = partition)]
    pub(crate) partition: Option<Partition>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(long, short = 'z', value_name = "CODEC", default_value_t = Compression::None)]
    pub(crate) compression: Compression,
    /// How long a batch may wait for more records, in milliseconds, 0 to 60000
    #[arg(long, value_name = "MS", allow_negative_numbers = true, default_value_t = 5, value_parser = whole(0..=60_000))]
    pub(crate) linger_ms: u64,
    /// About how large a batch may grow before compression, in bytes, 1 to 16777216
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) batch_bytes: u32,
    /// How long to go on trying while nothing is acknowledged, in milliseconds, 1 to 86400000: one limit for all
    #[arg(long, value_name = "MS", allow_negative_numbers = true, default_value_t = 120_000, value_parser = whole(1..=86_400_000))]
    pub(crate) timeout_ms: u64,
    /// Leave out lines that are not valid, count them, and go on (default: stop at the first)
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Make records with an empty value of empty lines (default: empty lines are left out, and counted)
    #[arg(long, conflicts_with_all = ["key_separator", "key_field"])]
    pub(crate) keep_empty: bool,
}

/// Flags of `consume`.
#[derive(Debug, Flags)]
pub(crate) struct ConsumeArgs {
    /// Topic to read
    pub(crate) topic: TopicName,
    /// Where to start: earliest, latest, an offset, or @ with a moment
    ///
    /// A moment is epoch milliseconds (@1769860800000), RFC 3339 (@2026-01-31T12:00:00Z) or a time ago (@-10m, @-1h30m,
    /// @-2d). Reading then starts at the first record of that time or later. An offset applies to every partition read.
    #[arg(long, value_name = "WHERE", default_value = "earliest", allow_hyphen_values = true)]
    pub(crate) from: StartAt,
    /// Partition to read, from 0 (default: all)
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = partition)]
    pub(crate) partition: Option<Partition>,
    /// Stop after so many records, 1 or more (default: no limit)
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=u64::MAX))]
    pub(crate) limit: Option<u64>,
    /// Stop at what was the end of the partitions when reading began (default: wait for more)
    #[arg(long, short = 'e')]
    pub(crate) exit_at_end: bool,
    /// How to write records: text, json, raw, or a format string (default: text; json with --output json)
    ///
    /// text  the value and a line end
    /// json  an object a line: topic, partition, offset, timestamp (epoch ms), key, value,
    ///       headers ([name, value] pairs); bytes that are no text are {"base64": "…"}
    /// raw   values with nothing between them
    ///
    /// Anything with a % or \ in it is a format string, to which nothing is added: '%k: %s\n'
    /// %t topic      %p partition     %o offset     %T timestamp (epoch ms)     %h headers
    /// %k key        %s value         %K %S their bytes (-1: null)              %% a percent sign
    /// \n line end   \t tab           \r \0        \xHH any byte               \\ a backslash
    #[arg(
        long,
        short = 'o',
        visible_short_alias = 'f',
        value_name = "FORM",
        allow_hyphen_values = true,
        verbatim_doc_comment
    )]
    pub(crate) format: Option<String>,
    /// Go on behind damaged records, after saying where they are (default: stop there)
    #[arg(long)]
    pub(crate) skip_damaged: bool,
}

/// Flags of `sql`.
#[derive(Debug, Flags)]
pub(crate) struct SqlArgs {
    /// Statements to carry out, then exit (default: the shell); may be given many times, in order
    #[arg(long = "execute", short = 'e', value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) statements: Vec<String>,
    /// File of statements to carry out, then exit; - for standard input (default: the shell)
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "statements")]
    pub(crate) file: Option<PathBuf>,
    /// A session property, as SET 'NAME'='VALUE' makes it (default: none); may be given many times
    #[arg(long = "property", short = 'P', value_name = "NAME=VALUE")]
    pub(crate) properties: Vec<Setting>,
    /// What people put here who mean -f or -e: told so, better than "unexpected"
    #[arg(hide = true)]
    pub(crate) stray: Option<String>,
}

/// What `datagen` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatagenKind {
    /// Ratings of an airline, key rating_id
    Ratings,
    /// The twenty customers who gave them, key id
    Customers,
}

/// Flags of `datagen`.
#[derive(Debug, Flags)]
pub(crate) struct DatagenArgs {
    /// What to make
    #[arg(value_name = "WHAT", value_enum)]
    pub(crate) kind: DatagenKind,
    /// How many records, 1 or more (default: 1000 ratings, or without end if --rate is given; all 20 customers)
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: Option<u32>,
    /// Records per second, above 0 and up to 1000000 (default: as fast as they are taken)
    #[arg(long, short, value_name = "R/s", allow_negative_numbers = true)]
    pub(crate) rate: Option<Rate>,
    /// Where the made-up data starts from: the same seed and --start give the same records
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = whole(0..=u64::MAX))]
    pub(crate) seed: u64,
    /// Time of the first record: epoch milliseconds, RFC 3339 or a time ago such as -1h (default: now, or with neither
    /// --rate nor --start so that the last record is made now; records are 1/rate or 1 ms apart)
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
    pub(crate) start: Option<Moment>,
    /// Topic to write to (default: ratings or customers)
    #[arg(long, short, value_name = "NAME")]
    pub(crate) topic: Option<TopicName>,
    /// How long to go on trying while nothing is acknowledged, in milliseconds, 1 to 86400000: one limit for all
    #[arg(long, value_name = "MS", allow_negative_numbers = true, default_value_t = 120_000, value_parser = whole(1..=86_400_000))]
    pub(crate) timeout_ms: u64,
    /// Create the topic if it is missing, with the broker's defaults (default: it must exist)
    #[arg(long)]
    pub(crate) create: bool,
    /// Write the records to standard output as JSON lines, and none to a topic (default: to the topic)
    #[arg(long, conflicts_with_all = ["topic", "create"])]
    pub(crate) print: bool,
}

/// Flags of `inspect`.
#[derive(Debug, Flags)]
pub(crate) struct InspectArgs {
    /// The data folder, as given to `serve --data-dir`
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Only this topic (default: all)
    #[arg(long, short, value_name = "NAME")]
    pub(crate) topic: Option<TopicName>,
    /// Also list every batch: offsets, records, bytes, times, compression, producer (default: segments only)
    #[arg(long, short)]
    pub(crate) batches: bool,
}

/// Flags of `completions`.
#[derive(Debug, Flags)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: CompletionShell,
}

/// Shells that get completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    /// GNU Bash
    Bash,
    /// The Z shell
    Zsh,
    /// The friendly interactive shell
    Fish,
}

/// As many partitions as a topic can have.
fn partitions() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(PARTITIONS_PER_TOPIC_MAX))
}

/// A number within bounds. (That of clap calls the sign of a negative one an invalid digit.)
fn whole(bounds: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let number: i128 = text.parse().map_err(|_| "a whole number is expected".to_owned())?;
        let (least, most) = (*bounds.start(), *bounds.end());
        let found = u64::try_from(number).ok().filter(|number| bounds.contains(number));
        found.ok_or_else(|| match most {
            u64::MAX => format!("{number} is not in {least}.."),
            most => format!("{number} is not in {least}..={most}"),
        })
    }
}

fn partition(text: &str) -> Result<Partition, String> {
    let number = text.parse().map_err(|_| "a number from 0 on is expected".to_owned())?;
    Partition::new(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    fn visit(command: &clap::Command, see: &mut impl FnMut(&clap::Command)) {
        see(command);
        command.get_subcommands().for_each(|inner| visit(inner, see));
    }

    #[test]
    fn the_table_of_flags_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_flag_has_help() {
        visit(&Args::command(), &mut |command| {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for flag in command.get_arguments() {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{} {}", command.get_name(), flag.get_id());
            }
        });
    }

    #[test]
    fn every_optional_flag_tells_its_default() {
        visit(&Args::command(), &mut |command| {
            for flag in command.get_opts() {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                let known = help.contains("(default: ") || !flag.get_default_values().is_empty();
                assert!(known, "{} --{}", command.get_name(), flag.get_id());
            }
        });
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        let help = Args::command().render_long_help().to_string();
        for (code, meaning) in exit::CODES {
            assert!(help.contains(&format!("{code:>3}  {meaning}")), "{code}");
        }
    }

    #[test]
    fn values_may_begin_with_a_hyphen() {
        for line in [
            &["thalweg", "sql", "-e", "-- only a comment"][..],
            &["thalweg", "sql", "--execute", "-1;"],
            &["thalweg", "produce", "t", "-K", "-"],
            &["thalweg", "produce", "t", "--key-separator", "--"],
            &["thalweg", "produce", "t", "--key-field", "-id"],
            &["thalweg", "produce", "t", "-H", "-x=1"],
            &["thalweg", "consume", "t", "-o", "-%s\n"],
            &["thalweg", "consume", "t", "-o", "-- %k"],
        ] {
            assert!(Args::try_parse_from(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn every_variable_of_a_flag_is_known() {
        let names = Args::variables();
        for name in ["THALWEG_SERVER", "THALWEG_DATA_DIR", "THALWEG_LOG"] {
            assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
        }
    }

    #[test]
    fn lines_as_people_type_them() {
        let accepted = [
            "thalweg serve --data-dir /tmp/x --set durability=os --check",
            "thalweg demo --keep-running --rate 20/s --seconds 5 --seed 7",
            "thalweg topic create ratings --partitions 3 --set retention.ms=1000 --if-not-exists",
            "thalweg topic list --output json --server 10.0.0.1:9093",
            "thalweg topic list --internal",
            "thalweg produce ratings --keep-empty",
            "thalweg topic alter ratings --reset retention.ms --set a=b",
            "thalweg topic delete ratings --if-exists --yes",
            "thalweg produce ratings data.jsonl --format jsonl --compression zstd -H a=b -q",
            "thalweg produce ratings - -K : --partition 0 --linger-ms 0 --batch-bytes 1000",
            "thalweg consume ratings --from @-10m -o %k:%s\\n --limit 5 --exit-at-end",
            "thalweg consume ratings --from latest -o json -p 1 --skip-damaged",
            "thalweg sql -e SELECT; -e SHOW; -P a=b",
            "thalweg datagen ratings --count 10 --rate 5/s --seed 3 --create --start -1h",
            "thalweg datagen customers --print",
            "thalweg inspect /tmp/x --topic ratings --batches",
            "thalweg completions zsh",
        ];
        for line in accepted {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
        let refused = [
            "thalweg",
            "thalweg topic alter ratings",
            "thalweg topic create a/b",
            "thalweg produce ratings -K : --key-field id",
            "thalweg produce ratings --compression brotli",
            "thalweg consume ratings --from never",
            "thalweg consume ratings --partition -1",
            "thalweg consume ratings --limit 0",
            "thalweg datagen ratings --print --topic x",
            "thalweg datagen ratings --rate 0",
            "thalweg sql -e a -f b",
        ];
        for line in refused {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_number_below_its_bounds_is_told_the_bounds() {
        for (line, bounds) in [
            ("thalweg topic create t --partitions -1", "-1 is not in 1..=10000"),
            ("thalweg topic create t --partitions 10001", "10001 is not in 1..=10000"),
            ("thalweg topic alter t -p -1", "-1 is not in 1..=10000"),
            ("thalweg datagen ratings --count -1", "-1 is not in 1.."),
            ("thalweg datagen ratings --rate -1", "above 0"),
            ("thalweg datagen ratings --seed -1", "-1 is not in 0.."),
            ("thalweg consume t --limit -1", "-1 is not in 1.."),
            ("thalweg consume t --partition -1", "numbered from 0 to 9999"),
            ("thalweg produce t --partition -1", "numbered from 0 to 9999"),
            ("thalweg produce t --linger-ms -1", "-1 is not in 0..=60000"),
            ("thalweg produce t --batch-bytes -1", "-1 is not in 1..=16777216"),
            ("thalweg produce t --timeout-ms 0", "0 is not in 1..=86400000"),
            ("thalweg datagen ratings --timeout-ms -1", "-1 is not in 1..=86400000"),
            ("thalweg demo --seconds -1", "-1 is not in 1..=86400"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(bounds), "{line}: {error}");
            assert!(!error.contains("tip"), "{line}: {error}");
        }
    }
}
