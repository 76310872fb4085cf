//! The window by example, and against the log of the broker in memory: whatever was refused, lost or late, once the
//! broker is sound all is settled soon, and no fate is told wrongly.

use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use protocol::batch::Builder;
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, ProducerEpoch, ProducerId, Timestamp};
use protocol::record::Record;
use protocol::verbs::ProduceRequest;

use super::super::ticket::completion;
use super::*;
use crate::fake::FakeBroker;
use crate::transport::Transport as _;

fn identity(id: i64) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(0) }
}

fn window(config: ProducerConfig) -> Window {
    let place = Place { topic: "t".parse().unwrap(), partition: Partition::ZERO };
    Window::new(place, &config)
}

/// A new identity that the log has heard of.
fn identify(window: &mut Window, id: i64) {
    window.identify(identity(id));
    if let Identity::Known(numbering) = &mut window.identity {
        numbering.is_known = true;
    }
}

/// Admits batches of two records each, with serials from 0.
fn admit(window: &mut Window, serials: std::ops::Range<Serial>, now: Instant) {
    for serial in serials {
        let mut builder = Builder::new(Compression::None);
        for _ in 0..2 {
            builder.push(&Record::of_value(serial.to_string()), Timestamp(1));
        }
        let (complete, _) = completion();
        window.admit(Gathered { serial, builder, complete, charge: 10, opened: now });
    }
}

/// Sends what can be sent: (producer, base sequence) of each batch.
fn send(window: &mut Window, request: RequestId, now: Instant) -> Vec<(i64, i32)> {
    let mut entries = Vec::new();
    window.send(request, now, usize::MAX, &mut entries);
    let stamp = |entry: &ProduceEntry| entry.batch.header().producer.unwrap();
    let numbers = |entry| (stamp(entry).id.0, stamp(entry).base_sequence.get());
    entries.iter().map(numbers).collect()
}

fn appended(offset: i64) -> std::result::Result<Appended, Failure> {
    let base_offset = Offset::new(offset).unwrap();
    Ok(Appended { base_offset, append_time: None, repeated: false })
}

fn failed(outcome: Outcome) -> std::result::Result<Appended, Failure> {
    Err(Failure { error: Error::new(outcome, "so"), sent: true, retry_at: None })
}

fn settled(window: &mut Window) -> Vec<(Serial, std::result::Result<i64, Outcome>)> {
    std::iter::from_fn(|| window.pop_settled())
        .map(|it| {
            let told = it.delivery.map(|appended| appended.base_offset.get());
            (it.serial, told.map_err(|error| error.outcome()))
        })
        .collect()
}

#[test]
fn answers_are_told_in_order_and_repeats_carry_the_same_numbers() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..3, now);
    assert!(window.lacks_identity() && !window.has_sendable(now));
    identify(&mut window, 7);
    assert_eq!(send(&mut window, 1, now), [(7, 0), (7, 2), (7, 4)]);
    window.answer(1, 1, appended(2), now);
    assert_eq!(settled(&mut window), []);
    window.answer(0, 1, failed(Outcome::Disconnected), now);
    assert!(!window.has_sendable(now + Duration::from_secs(9)), "one is still under way");
    window.answer(2, 1, failed(Outcome::Disconnected), now);
    let later = window.alarm(now).unwrap();
    assert!(later > now && send(&mut window, 2, now).is_empty());
    assert_eq!(send(&mut window, 2, later), [(7, 0), (7, 4)]);
    window.answer(0, 1, appended(99), later);
    assert_eq!(settled(&mut window), [], "an answer to another request is not for it");
    window.answer(0, 2, appended(0), later);
    window.answer(2, 2, appended(4), later);
    assert_eq!(settled(&mut window), [(0, Ok(0)), (1, Ok(2)), (2, Ok(4))]);
}

#[test]
fn the_first_batch_under_an_identity_goes_alone() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..3, now);
    window.identify(identity(7));
    assert_eq!(send(&mut window, 1, now), [(7, 0)]);
    assert!(!window.has_sendable(now) && send(&mut window, 2, now).is_empty());
    window.answer(0, 1, failed(Outcome::Busy), now);
    let later = window.alarm(now).unwrap();
    assert_eq!(send(&mut window, 2, later), [(7, 0)], "it is the first again");
    window.answer(0, 2, appended(0), later);
    assert_eq!(send(&mut window, 3, later), [(7, 2), (7, 4)]);
}

#[test]
fn a_refusal_for_good_leaves_no_gap_behind_it() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..3, now);
    identify(&mut window, 7);
    send(&mut window, 1, now);
    window.answer(0, 1, failed(Outcome::InvalidRecord), now);
    assert_eq!(settled(&mut window), [(0, Err(Outcome::InvalidRecord))]);
    assert!(!window.lacks_identity(), "two are under way under the old one");
    window.answer(1, 1, failed(Outcome::OutOfOrderSequence), now);
    window.answer(2, 1, failed(Outcome::OutOfOrderSequence), now);
    assert!(window.lacks_identity() && !window.has_sendable(now));
    assert!(!window.accepts(identity(7)));
    identify(&mut window, 8);
    assert_eq!(send(&mut window, 2, now), [(8, 0), (8, 2)]);
    window.answer(1, 2, appended(0), now);
    window.answer(2, 2, appended(2), now);
    assert_eq!(settled(&mut window), [(1, Ok(0)), (2, Ok(2))]);
}

#[test]
fn the_last_batch_refused_gives_its_number_back() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..1, now);
    identify(&mut window, 7);
    send(&mut window, 1, now);
    window.answer(0, 1, failed(Outcome::BatchTooLarge), now);
    assert_eq!(settled(&mut window), [(0, Err(Outcome::BatchTooLarge))]);
    admit(&mut window, 1..2, now);
    assert_eq!(send(&mut window, 2, now), [(7, 0)]);
}

#[test]
fn what_may_have_been_written_is_never_sent_under_another_identity() {
    let now = Instant::now();
    let timeout = Duration::from_secs(10);
    let mut window = window(ProducerConfig::default().delivery_timeout(timeout));
    admit(&mut window, 0..1, now);
    let later = now + Duration::from_secs(5);
    admit(&mut window, 1..3, later);
    identify(&mut window, 7);
    send(&mut window, 1, later);
    for serial in 0..2 {
        window.answer(serial, 1, failed(Outcome::Disconnected), later);
    }
    window.answer(2, 1, failed(Outcome::OutOfOrderSequence), later);
    let expired = now + timeout;
    window.expire(expired);
    assert_eq!(settled(&mut window), [(0, Err(Outcome::TimedOut))]);
    assert!(!window.lacks_identity(), "one is not settled under the old identity");
    assert_eq!(send(&mut window, 2, expired), [(7, 2)], "only to learn what became of it");
    window.answer(1, 2, failed(Outcome::OutOfOrderSequence), expired);
    assert_eq!(settled(&mut window), [(1, Err(Outcome::Disconnected))]);
    identify(&mut window, 8);
    assert_eq!(send(&mut window, 3, expired), [(8, 0)], "certainly not written");
}

#[test]
fn doubt_behind_one_that_waits_for_a_new_identity_is_settled_at_once() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..3, now);
    identify(&mut window, 7);
    send(&mut window, 1, now);
    window.answer(0, 1, failed(Outcome::InvalidRecord), now);
    window.answer(1, 1, failed(Outcome::OutOfOrderSequence), now);
    window.answer(2, 1, failed(Outcome::Disconnected), now);
    assert_eq!(settled(&mut window), [(0, Err(Outcome::InvalidRecord))]);
    assert_eq!(send(&mut window, 2, now), [(7, 4)], "only to learn what became of it");
    window.answer(2, 2, failed(Outcome::OutOfOrderSequence), now);
    assert!(window.lacks_identity(), "nothing is left to be learned under the old one");
    identify(&mut window, 8);
    assert_eq!(send(&mut window, 3, now), [(8, 0)]);
    window.answer(1, 3, appended(0), now);
    assert_eq!(settled(&mut window), [(1, Ok(0)), (2, Err(Outcome::Disconnected))]);
}

#[test]
fn without_sequences_one_is_under_way_and_doubt_is_told() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default().idempotent(false));
    admit(&mut window, 0..1, now);
    assert!(!window.has_room());
    let mut entries = Vec::new();
    window.send(1, now, usize::MAX, &mut entries);
    assert_eq!(entries[0].batch.header().producer, None);
    window.answer(0, 1, failed(Outcome::Busy), now);
    let later = window.alarm(now).unwrap();
    window.send(2, later, usize::MAX, &mut entries);
    window.answer(0, 2, failed(Outcome::Disconnected), later);
    assert_eq!(settled(&mut window), [(0, Err(Outcome::Disconnected))]);
    admit(&mut window, 1..2, later);
    window.send(3, later, usize::MAX, &mut entries);
    let error = Error::new(Outcome::Disconnected, "so");
    let never_left = Failure { error, sent: false, retry_at: None };
    window.answer(1, 3, Err(never_left), later);
    assert!(settled(&mut window).is_empty() && window.alarm(later).is_some());
}

#[test]
fn what_never_left_is_known_not_to_have_happened() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..1, now);
    window.expire(window.alarm(now).unwrap());
    assert_eq!(settled(&mut window), [(0, Err(Outcome::Unavailable))]);
    admit(&mut window, 1..2, now);
    identify(&mut window, 7);
    send(&mut window, 1, now);
    window.answer(1, 1, failed(Outcome::DiskFull), now);
    window.expire(now + Duration::from_secs(120));
    assert_eq!(settled(&mut window), [(1, Err(Outcome::DiskFull))]);
}

#[test]
fn an_identity_that_is_refused_fails_what_waits_for_it() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..2, now);
    window.refuse_identity(&Error::new(Outcome::Denied, "no"));
    let told = [(0, Err(Outcome::Denied)), (1, Err(Outcome::Denied))];
    assert_eq!(settled(&mut window), told);
}

#[test]
fn a_request_takes_one_batch_at_least_and_no_more_than_fit() {
    let now = Instant::now();
    let mut window = window(ProducerConfig::default());
    admit(&mut window, 0..2, now);
    identify(&mut window, 7);
    let mut entries = Vec::new();
    assert_eq!(window.send(1, now, 1, &mut entries), [0]);
    assert!(window.has_sendable(now));
    let mut entries = Vec::new();
    assert_eq!(window.send(2, now, 1, &mut entries), [1]);
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It is carried out, and answered.
    Done,
    /// The first of its batches is refused so, the others are carried out.
    RefuseFirst(Outcome),
    /// The connection breaks before it is carried out.
    Lost,
    /// The connection breaks after it was carried out.
    Unanswered,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit,
    Send(Way),
    /// The oldest request under way is answered.
    Answer,
    /// The next pause is over.
    Wait,
    /// The time of all batches runs out.
    Expire,
}

fn any_step() -> impl Strategy<Value = Step> {
    use Outcome::{Busy, DiskFull, InvalidRecord, StorageFailed};
    let refusal = prop::sample::select(vec![Busy, DiskFull, InvalidRecord, StorageFailed]);
    let way = prop_oneof![
        2 => Just(Way::Done),
        3 => refusal.prop_map(Way::RefuseFirst),
        1 => Just(Way::Lost),
        1 => Just(Way::Unanswered),
    ];
    prop_oneof![
        6 => Just(Step::Admit),
        6 => way.prop_map(Step::Send),
        4 => Just(Step::Answer),
        2 => Just(Step::Wait),
        1 => Just(Step::Expire),
    ]
}

type Answer = std::result::Result<Appended, Error>;

/// A window with the broker that it sends to.
struct Model {
    broker: std::sync::Arc<FakeBroker>,
    window: Window,
    now: Instant,
    next_serial: Serial,
    next_request: RequestId,
    next_identity: i64,
    under_way: VecDeque<(RequestId, Vec<Serial>, Vec<Answer>)>,
    settled: Vec<(Serial, Answer)>,
}

impl Model {
    fn new() -> Self {
        let backoff = crate::config::BackoffConfig::default().seed(7);
        Self {
            broker: FakeBroker::with_topic("t", 1),
            window: window(ProducerConfig::default().backoff(backoff)),
            now: Instant::now(),
            next_serial: 0,
            next_request: 0,
            next_identity: 0,
            under_way: VecDeque::new(),
            settled: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Admit if self.window.has_room() => {
                admit(&mut self.window, self.next_serial..self.next_serial + 1, self.now);
                self.next_serial += 1;
            }
            Step::Admit => {}
            Step::Send(way) => self.send(way),
            Step::Answer => self.answer(),
            Step::Wait => {
                let retry_at = self.window.retry_at;
                self.now = retry_at.map_or(self.now, |at| at.max(self.now));
            }
            Step::Expire => {
                self.now += self.window.config.delivery_timeout;
                self.window.expire(self.now);
            }
        }
        let settled = std::iter::from_fn(|| self.window.pop_settled());
        self.settled.extend(settled.map(|it| (it.serial, it.delivery)));
    }

    fn send(&mut self, way: Way) {
        if self.window.lacks_identity() {
            self.window.identify(identity(self.next_identity));
            self.next_identity += 1;
        }
        let mut entries = Vec::new();
        self.next_request += 1;
        let serials = self.window.send(self.next_request, self.now, usize::MAX, &mut entries);
        if serials.is_empty() {
            return;
        }
        let answers = entries.into_iter().enumerate().map(|(index, entry)| match way {
            Way::RefuseFirst(outcome) if index == 0 => Err(Error::new(outcome, "so")),
            Way::Lost => Err(Error::new(Outcome::Disconnected, "so")),
            Way::Done | Way::Unanswered | Way::RefuseFirst(_) => self.append(entry),
        });
        let answers = answers.collect();
        self.under_way.push_back((self.next_request, serials, answers));
        if matches!(way, Way::Lost | Way::Unanswered) {
            // All that shares the connection loses its answer.
            for (_, _, answers) in &mut self.under_way {
                answers.fill(Err(Error::new(Outcome::Disconnected, "so")));
            }
        }
    }

    fn append(&self, entry: ProduceEntry) -> Answer {
        let request = ProduceRequest { entries: vec![entry] };
        let handed_over = self.broker.produce(request).now_or_never().unwrap().unwrap();
        let mut reply = handed_over.now_or_never().unwrap().unwrap();
        reply.entries.remove(0).map_err(Error::from)
    }

    fn answer(&mut self) {
        let Some((request, serials, answers)) = self.under_way.pop_front() else { return };
        for (serial, answer) in serials.into_iter().zip(answers) {
            let answer = answer.map_err(|error| Failure { error, sent: true, retry_at: None });
            self.window.answer(serial, request, answer, self.now);
        }
    }

    /// Nothing goes wrong any longer: how many rounds until all is settled?
    fn rounds_to_the_end(&mut self) -> usize {
        let mut rounds = 0;
        while u64::try_from(self.settled.len()).unwrap() < self.next_serial && rounds < 100 {
            rounds += 1;
            for step in [Step::Wait, Step::Send(Way::Done), Step::Answer] {
                self.step(step);
            }
        }
        rounds
    }

    /// The serials of the stored batches, in order, with their offsets.
    fn stored(&self) -> Vec<(Serial, i64)> {
        let records = self.broker.records(&"t".parse().unwrap());
        let whole = records.iter().step_by(2).map(|(_, offset, record)| {
            let text = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap();
            (text.parse().unwrap(), offset.get())
        });
        whole.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn once_nothing_breaks_all_is_settled_soon_and_told_as_it_is(
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        let under_way = model.under_way.len();
        let rounds = model.rounds_to_the_end();
        // What is under way is answered, one a round; then doubts are settled under the old identity; then the rest
        // goes under a new one.
        prop_assert!(rounds <= under_way + 4, "{rounds} rounds, {under_way} under way");
        let stored = model.stored();
        let order: Vec<Serial> = stored.iter().map(|(serial, _)| *serial).collect();
        prop_assert!(order.is_sorted(), "{order:?}");
        for (expected, (serial, fate)) in (0..).zip(&model.settled) {
            prop_assert_eq!(expected, *serial);
            let places: Vec<i64> =
                stored.iter().filter(|it| it.0 == *serial).map(|it| it.1).collect();
            match fate {
                Ok(appended) => prop_assert_eq!(places, [appended.base_offset.get()]),
                Err(error) if error.may_have_happened() => prop_assert!(places.len() <= 1),
                Err(error) => prop_assert!(places.is_empty(), "{serial} in spite of {error}"),
            }
        }
    }
}
