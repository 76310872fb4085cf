//! How records are written: as text, JSON, raw values, or by a format string.

use std::str::FromStr;

use crate::exit::Failure;
use crate::text::{self, FormatString, Seen};

/// How a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RecordForm {
    Text,
    Json,
    Raw,
    Format(FormatString),
}

impl RecordForm {
    /// The form asked for; without one, what suits the reader of the output.
    pub(super) fn choose(given: Option<&str>, for_programs: bool) -> Result<Self, Failure> {
        match given {
            None if for_programs => Ok(Self::Json),
            None => Ok(Self::Text),
            Some(given) => given.parse().map_err(|message| Failure::Usage {
                message,
                advice: "`thalweg consume --help` shows every form",
            }),
        }
    }

    /// Puts a record behind what is there.
    pub(super) fn write(&self, output: &mut Vec<u8>, record: &Seen<'_>) {
        match self {
            Self::Text => {
                output.extend_from_slice(record.value.unwrap_or_default());
                output.push(b'\n');
            }
            Self::Raw => output.extend_from_slice(record.value.unwrap_or_default()),
            Self::Json => text::write_line(output, record),
            Self::Format(format) => format.write(output, record),
        }
    }
}

impl FromStr for RecordForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "raw" => Ok(Self::Raw),
            format if format.contains(['%', '\\']) => format
                .parse()
                .map(Self::Format)
                .map_err(|error| format!("the format string is not valid: {error}")),
            other => Err(format!(
                "{other:?} is no form of a record: text, json, raw or a format string with % signs is expected"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{Offset, Partition};

    use super::*;

    fn written(form: &str, value: Option<&[u8]>) -> String {
        let record = Seen {
            topic: "t",
            partition: Partition::ZERO,
            offset: Offset::ZERO,
            timestamp: protocol::id::Timestamp(5),
            key: Some(b"k"),
            value,
            headers: &[],
        };
        let mut output = Vec::new();
        RecordForm::choose(Some(form), false).unwrap().write(&mut output, &record);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn every_form() {
        assert_eq!(written("text", Some(b"v")), "v\n");
        assert_eq!(written("text", None), "\n");
        assert_eq!(written("raw", Some(b"v")), "v");
        assert_eq!(written("%k=%s;", Some(b"v")), "k=v;");
        assert_eq!(
            written("json", None),
            "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp\":5,\"key\":\"k\",\"value\":null,\"headers\":[]}\n"
        );
    }

    #[test]
    fn the_form_suits_the_reader_unless_one_is_given() {
        assert_eq!(RecordForm::choose(None, true).unwrap(), RecordForm::Json);
        assert_eq!(RecordForm::choose(None, false).unwrap(), RecordForm::Text);
        assert_eq!(RecordForm::choose(Some("raw"), true).unwrap(), RecordForm::Raw);
        for bad in ["yaml", "", "%q"] {
            let refused = RecordForm::choose(Some(bad), false);
            assert!(matches!(refused, Err(Failure::Usage { .. })), "{bad}");
        }
    }
}
