//! Positions and the search for them.

use super::refusal::{refuse_id, refuse_request, wrong_answer};
use super::v1;
use crate::id::{Offset, Partition, Timestamp, TopicName};
use crate::limits::ENTRIES_PER_REQUEST_MAX;
use crate::outcome::Refusal;
use crate::verbs::{Position, PositionEntry, PositionFound};

/// Reads a position from the wire; absent altogether it is the earliest.
///
/// # Errors
/// When it names no place, an unknown edge or a negative offset.
pub fn position(position: Option<v1::Position>) -> Result<Position, Refusal> {
    let Some(position) = position else { return Ok(Position::Earliest) };
    match position.at {
        Some(v1::position::At::Edge(edge)) => match v1::Edge::try_from(edge) {
            Ok(v1::Edge::Earliest) => Ok(Position::Earliest),
            Ok(v1::Edge::Latest) => Ok(Position::Latest),
            Err(_) => Err(refuse_request(format!("edge {edge} of a position is unknown"))),
        },
        Some(v1::position::At::Offset(offset)) => {
            Offset::new(offset).map(Position::Offset).map_err(|error| refuse_id(&error))
        }
        Some(v1::position::At::TimeMs(time)) => Ok(Position::Time(Timestamp(time))),
        None => Err(refuse_request("a position names neither an edge, an offset nor a time")),
    }
}

impl From<Position> for v1::Position {
    fn from(position: Position) -> Self {
        let at = match position {
            Position::Earliest => v1::position::At::Edge(v1::Edge::Earliest.into()),
            Position::Latest => v1::position::At::Edge(v1::Edge::Latest.into()),
            Position::Offset(offset) => v1::position::At::Offset(offset.get()),
            Position::Time(time) => v1::position::At::TimeMs(time.0),
        };
        Self { at: Some(at) }
    }
}

/// Reads a request for positions.
///
/// # Errors
/// When it has too many entries, or one of them names something that cannot be.
pub fn position_entries(request: v1::FindPositionsRequest) -> Result<Vec<PositionEntry>, Refusal> {
    check_entry_count(request.entries.len())?;
    let entry = |entry: v1::FindPositionsEntry| {
        let (topic, partition) = place(&entry.topic, entry.partition)?;
        Ok(PositionEntry { topic, partition, at: position(entry.at)? })
    };
    request.entries.into_iter().map(entry).collect()
}

impl FromIterator<PositionEntry> for v1::FindPositionsRequest {
    fn from_iter<I: IntoIterator<Item = PositionEntry>>(entries: I) -> Self {
        let entry = |entry: PositionEntry| v1::FindPositionsEntry {
            topic: entry.topic.to_string(),
            partition: entry.partition.to_i32(),
            at: Some(entry.at.into()),
        };
        Self { entries: entries.into_iter().map(entry).collect() }
    }
}

impl From<Result<PositionFound, Refusal>> for v1::FindPositionsResult {
    fn from(found: Result<PositionFound, Refusal>) -> Self {
        match found {
            Ok(found) => Self {
                problem: None,
                offset: found.offset.get(),
                timestamp_ms: found.timestamp.map(|time| time.0),
            },
            Err(refusal) => Self { problem: Some(refusal.into()), ..Self::default() },
        }
    }
}

/// Reads the answer to a request with `entries` entries.
///
/// # Errors
/// When it does not answer that request.
pub fn positions_found(
    response: v1::FindPositionsResponse,
    entries: usize,
) -> Result<Vec<Result<PositionFound, Refusal>>, Refusal> {
    check_result_count(response.results.len(), entries)?;
    let result = |result: v1::FindPositionsResult| {
        if let Some(problem) = result.problem {
            return Err(Refusal::from(problem));
        }
        Ok(PositionFound {
            offset: Offset::new(result.offset).map_err(wrong_answer)?,
            timestamp: result.timestamp_ms.map(Timestamp),
        })
    };
    Ok(response.results.into_iter().map(result).collect())
}

/// Reads the topic and partition of an entry.
pub(super) fn place(topic: &str, partition: i32) -> Result<(TopicName, Partition), Refusal> {
    let topic = TopicName::new(topic).map_err(|error| refuse_id(&error))?;
    let partition = Partition::new(partition.into()).map_err(|error| refuse_id(&error))?;
    Ok((topic, partition))
}

pub(super) fn check_entry_count(count: usize) -> Result<(), Refusal> {
    if count > ENTRIES_PER_REQUEST_MAX {
        return Err(refuse_request(format!(
            "the request has {count} entries; at most {ENTRIES_PER_REQUEST_MAX} are allowed"
        )));
    }
    Ok(())
}

pub(super) fn check_result_count(found: usize, expected: usize) -> Result<(), Refusal> {
    if found != expected {
        return Err(wrong_answer(format_args!("{found} results to {expected} entries")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    fn all_positions() -> [Position; 4] {
        let offset = Offset::new(7).unwrap();
        [
            Position::Earliest,
            Position::Latest,
            Position::Offset(offset),
            Position::Time(Timestamp(-5)),
        ]
    }

    #[test]
    fn requests_and_answers_cross() {
        let entries: Vec<_> = all_positions()
            .into_iter()
            .map(|at| PositionEntry {
                topic: "t".parse().unwrap(),
                partition: Partition::new(3).unwrap(),
                at,
            })
            .collect();
        let request: v1::FindPositionsRequest = entries.clone().into_iter().collect();
        assert_eq!(position_entries(request).unwrap(), entries);

        let found = vec![
            Ok(PositionFound { offset: Offset::ZERO, timestamp: Some(Timestamp(9)) }),
            Err(Refusal::new(Outcome::UnknownTopic, "t")),
        ];
        let results = found.iter().cloned().map(Into::into).collect();
        let response = v1::FindPositionsResponse { results };
        assert_eq!(positions_found(response.clone(), 2).unwrap(), found);
        assert_eq!(positions_found(response, 3).unwrap_err().outcome, Outcome::Internal);
    }

    #[test]
    fn positions_that_name_no_place_are_refused() {
        assert_eq!(position(None).unwrap(), Position::Earliest);
        for at in [None, Some(v1::position::At::Edge(9)), Some(v1::position::At::Offset(-1))] {
            let refusal = position(Some(v1::Position { at })).unwrap_err();
            assert_eq!(refusal.outcome, Outcome::InvalidRequest);
        }
    }

    #[test]
    fn too_many_entries_are_refused() {
        let entries = vec![v1::FindPositionsEntry::default(); ENTRIES_PER_REQUEST_MAX + 1];
        let refusal = position_entries(v1::FindPositionsRequest { entries }).unwrap_err();
        assert_eq!(refusal.outcome, Outcome::InvalidRequest);
    }
}
