//! What a log writes down of itself: its start, how far it is synced, its closed segments, epochs and producers.
//!
//! One file, replaced whole, so that its parts cannot contradict each other. All of it can be rebuilt from the
//! batches but for a start inside a segment: without the file, records that were trimmed away come back.

use bytes::BufMut;
use protocol::id::{LeaderEpoch, Offset, Timestamp};

use crate::epochs::{EpochStart, Epochs};
use crate::format::{Fields, STATE_EPOCH, STATE_HEAD, STATE_PRODUCER, STATE_SEGMENT, put_count};
use crate::producers::Producers;
use crate::segment::Summary;

/// The body of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) start: Offset,
    /// The active segment, as far as it is synced.
    pub(crate) active: Summary,
    pub(crate) first_append: Timestamp,
    pub(crate) epochs: Epochs,
    pub(crate) closed: Vec<Summary>,
    pub(crate) producers: Producers,
}

impl State {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(
            STATE_HEAD.bytes()
                + self.closed.len() * STATE_SEGMENT.bytes()
                + self.producers.len() * STATE_PRODUCER.bytes() * 2,
        );
        body.put_i64(self.start.get());
        body.put_i64(self.active.base.get());
        body.put_u64(self.active.bytes);
        body.put_i64(self.active.end.get());
        body.put_i64(self.active.time_max.0);
        body.put_i64(self.first_append.0);
        body.put_i64(self.active.last_append.0);
        put_count(&mut body, self.epochs.list().len());
        put_count(&mut body, self.closed.len());
        put_count(&mut body, self.producers.len());
        for EpochStart { epoch, start } in self.epochs.list() {
            body.put_i32(epoch.0);
            body.put_i64(start.get());
        }
        for closed in &self.closed {
            body.put_i64(closed.base.get());
            body.put_i64(closed.end.get());
            body.put_u64(closed.bytes);
            body.put_i64(closed.time_max.0);
            body.put_i64(closed.last_append.0);
        }
        self.producers.encode(&mut body);
        body
    }

    /// Reads a body. `Err` names the field that is not valid.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(body);
        let start = fields.offset().ok_or("startOffset")?;
        let base = fields.offset().ok_or("activeBase")?;
        let bytes = fields.u64().ok_or("position")?;
        let end = fields.offset().filter(|end| *end >= base).ok_or("endOffset")?;
        let time_max = Timestamp(fields.i64().ok_or("maxTimestamp")?);
        let first_append = Timestamp(fields.i64().ok_or("firstAppend")?);
        let last_append = Timestamp(fields.i64().ok_or("lastAppend")?);
        let epochs = fields.count(STATE_EPOCH.bytes()).ok_or("epochs")?;
        let segments = fields.count(STATE_SEGMENT.bytes()).ok_or("segments")?;
        let producers = fields.count(STATE_PRODUCER.bytes()).ok_or("producers")?;

        let list: Option<Vec<_>> = (0..epochs).map(|_| read_epoch(&mut fields)).collect();
        let epochs = list.and_then(Epochs::from_list).ok_or("epochs")?;
        let closed: Option<Vec<_>> = (0..segments).map(|_| read_segment(&mut fields)).collect();
        let closed = closed.ok_or("segments")?;
        let bases: Vec<_> = closed.iter().map(|closed| closed.base).chain([base]).collect();
        let in_order = bases.windows(2).all(|two| two[0] < two[1])
            && closed.iter().zip(bases.iter().skip(1)).all(|(closed, next)| closed.end <= *next);
        if !in_order {
            return Err("segments");
        }
        let producers = Producers::decode(&mut fields, producers).ok_or("producers")?;
        if !fields.0.is_empty() {
            return Err("producers");
        }
        let active = Summary { base, end, bytes, time_max, last_append };
        Ok(Self { start, active, first_append, epochs, closed, producers })
    }
}

fn read_epoch(fields: &mut Fields<'_>) -> Option<EpochStart> {
    Some(EpochStart { epoch: LeaderEpoch(fields.i32()?), start: fields.offset()? })
}

fn read_segment(fields: &mut Fields<'_>) -> Option<Summary> {
    Some(Summary {
        base: fields.offset()?,
        end: fields.offset()?,
        bytes: fields.u64()?,
        time_max: Timestamp(fields.i64()?),
        last_append: Timestamp(fields.i64()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::batch::ProducerStamp;
    use protocol::id::{ProducerEpoch, ProducerId, Sequence};

    use crate::producers::Sent;

    fn sample() -> State {
        let offset = |number| Offset::new(number).unwrap();
        let summary = |base, end| Summary {
            base: offset(base),
            end: offset(end),
            bytes: 1000,
            time_max: Timestamp(7),
            last_append: Timestamp(8),
        };
        let mut epochs = Epochs::default();
        epochs.note(LeaderEpoch(3), offset(5));
        let mut producers = Producers::default();
        let stamp = ProducerStamp {
            id: ProducerId(9),
            epoch: ProducerEpoch(1),
            base_sequence: Sequence::ZERO,
        };
        let sent = Sent {
            base_sequence: Sequence::ZERO,
            records: 3,
            base_offset: offset(25),
            append_time: Some(Timestamp(44)),
        };
        producers.note(&stamp, sent, Timestamp(45));
        State {
            start: offset(6),
            active: summary(20, 28),
            first_append: Timestamp(2),
            epochs,
            closed: vec![summary(5, 12), summary(12, 20)],
            producers,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_every_cut_is_refused() {
        let state = sample();
        let body = state.encode();
        assert_eq!(State::decode(&body).as_ref(), Ok(&state));
        for cut in 0..body.len() {
            assert!(State::decode(&body[..cut]).is_err(), "cut at {cut}");
        }
        let mut disordered = state;
        disordered.closed.reverse();
        assert_eq!(State::decode(&disordered.encode()), Err("segments"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_state_or_refused(
            mut body in prop::collection::vec(any::<u8>(), 0..300), place in 0..300usize,
        ) {
            let _ = State::decode(&body);
            body = sample().encode();
            let place = place % body.len();
            body[place] ^= 0x11;
            let _ = State::decode(&body);
        }
    }
}
