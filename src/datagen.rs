//! Made-up data for trying things out: an endless stream of ratings of an airline, and the customers who gave them.
//!
//! The same seed gives the same ratings on every machine and in every version: the numbers come from the small
//! generator in this file, not from a library that may change its own. Each field is drawn evenly over its domain,
//! so what a query finds can be foretold: 19 of 21 ratings are from a customer, 1 of 5 from the test channel, 1 of 2
//! has less than three stars, 5 of 21 are from a platinum customer. Nothing is sent or printed here.

use protocol::id::Timestamp;
use protocol::record::Record;
use serde::Serialize;

/// Where ratings are given: real ones, a spelling that differs only by case, and a test channel.
pub const CHANNELS: [&str; 5] = ["web", "iOS", "ios", "iOS-test", "android"];

/// What people write.
pub const MESSAGES: [&str; 11] = [
    "The crew remembered my name. That made my day.",
    "Two hours on the tarmac and not one word of explanation !",
    "My suitcase is still in Lisbon (I am not)",
    "More leg room than my sofa at home",
    "Is cold tea all you have to offer ?",
    "Fine. Nothing more, nothing less.",
    "Boarding was quick, the landing was soft, thank you",
    "The app forgot my seat again #neveragain",
    "Best bread rolls above the clouds; please keep the recipe",
    "Row 31 smells of wet dog, honestly",
    "I would fly with you tomorrow, if only you flew on time",
];

/// Most customers there are: ids 1 to this.
pub const CUSTOMERS: usize = 20;

/// A rating. The order of the fields is that of its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rating {
    /// 1, 2, 3 and so on.
    pub rating_id: i64,
    /// -1 to 19. No customer has -1 or 0; customer 20 never rates.
    pub user_id: i32,
    /// 1 to 4: nobody is ever quite content.
    pub stars: i32,
    /// 1 to 9998.
    pub route_id: i32,
    /// When it was given, in epoch milliseconds.
    pub rating_time: i64,
    /// One of [`CHANNELS`].
    pub channel: &'static str,
    /// One of [`MESSAGES`].
    pub message: &'static str,
}

/// A customer. The order of the fields is that of its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// 1 to 20.
    pub id: i32,
    /// Given name.
    pub first_name: &'static str,
    /// Family name.
    pub last_name: &'static str,
    /// An address in a domain that is reserved for examples.
    pub email: String,
    /// As the customer says it.
    pub gender: &'static str,
    /// `platinum`, `gold`, `silver` or `bronze`.
    pub club_status: &'static str,
    /// A note, at most 90 characters.
    pub comments: &'static str,
    /// When the row was made, in epoch milliseconds.
    pub create_ts: i64,
    /// When it was last changed, in epoch milliseconds.
    pub update_ts: i64,
}

/// First name, last name, gender, status, comment; the first has id 1.
type CustomerRow = (&'static str, &'static str, &'static str, &'static str, &'static str);

const CUSTOMER_ROWS: [CustomerRow; CUSTOMERS] = [
    ("Ada", "Birkhoff", "Female", "bronze", "Prefers a seat by the window"),
    ("Mateo", "Quintana", "Male", "platinum", "Flies to Madrid every second Monday"),
    ("Noor", "Haddad", "Female", "bronze", "Joined with the spring offer"),
    ("Ingrid", "Solberg", "Female", "platinum", "Invited to the round table of frequent flyers"),
    ("Kwame", "Asante", "Male", "platinum", "Asks for the vegetarian meal"),
    ("Lucia", "Ferraro", "Female", "platinum", "Travels with a cello, which has a seat of its own"),
    ("Tomas", "Havel", "Male", "bronze", "Wrote to us about the coffee"),
    ("Mei", "Zhang", "Female", "silver", "Two miles short of gold"),
    ("Oluwaseun", "Adeyemi", "Male", "silver", "Prefers letters to telephone calls"),
    ("Freya", "Lindqvist", "Non-binary", "silver", "Status moved over from a partner airline"),
    ("Rohan", "Mehta", "Male", "gold", "Books for the whole family"),
    ("Camille", "Dubreuil", "Female", "gold", "Was upgraded twice last year"),
    ("Jonah", "Whitlock", "Male", "platinum", "Knows the timetable better than we do"),
    ("Sakura", "Okabe", "Female", "gold", "Needs the invoice in two languages"),
    ("Dmitri", "Volkov", "Male", "gold", "Travels with hand luggage only"),
    ("Amara", "Nwosu", "Female", "bronze", "New since the app came out"),
    ("Piet", "van Rijn", "Male", "bronze", "Has never missed a flight"),
    ("Leilani", "Kahale", "Female", "gold", "Lost and found: one blue umbrella"),
    ("Bartosz", "Zielinski", "Male", "gold", "Sits in row 12, always"),
    ("Esther", "Goldblum", "Female", "gold", "Has not told us yet what she thinks"),
];

/// A small generator of even numbers: SplitMix64 (Steele, Lea, Flood 2014).
///
/// One addition and three mixing steps a number; every seed gives the full period of 2^64. Not for secrets.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `0..bound`, each as likely as the others: the draw is scaled by a 128-bit product, and the few
    /// draws that would favour some numbers are thrown away (Lemire 2019).
    fn below(&mut self, bound: u32) -> u32 {
        let bound = u64::from(bound.max(1));
        let favoured = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            // The lower half decides whether the draw counts; the upper half is below the bound, so it fits.
            let lower = product & u128::from(u64::MAX);
            if lower >= u128::from(favoured) {
                return u32::try_from(product >> 64).unwrap_or(0);
            }
        }
    }

    /// A number of `from..=to`.
    fn between(&mut self, from: i32, to: i32) -> i32 {
        from.saturating_add_unsigned(self.below(to.abs_diff(from) + 1))
    }

    fn pick(&mut self, texts: &[&'static str]) -> &'static str {
        let bound = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        let index = self.below(bound) as usize;
        texts.get(index).copied().unwrap_or_default()
    }
}

/// An endless stream of ratings.
///
/// ```
/// use protocol::id::Timestamp;
/// use thalweg::datagen::Ratings;
/// let ratings = || Ratings::new(42, Timestamp(1_700_000_000_000), 2.0);
/// let third = ratings().nth(2).unwrap();
/// assert_eq!((third.rating_id, third.rating_time), (3, 1_700_000_001_000));
/// assert_eq!(ratings().take(100).last(), ratings().nth(99));
/// ```
#[derive(Clone, Debug)]
pub struct Ratings {
    numbers: SplitMix64,
    start: Timestamp,
    per_second: f64,
    given: u32,
}

impl Ratings {
    /// Ratings drawn from `seed`: the first at `start`, then `per_second` of them a second.
    pub fn new(seed: u64, start: Timestamp, per_second: f64) -> Self {
        Self { numbers: SplitMix64(seed), start, per_second, given: 0 }
    }
}

impl Iterator for Ratings {
    type Item = Rating;

    /// `None` only after 2^32 - 1 ratings.
    fn next(&mut self) -> Option<Rating> {
        let elapsed_ms = f64::from(self.given) * 1000.0 / self.per_second;
        self.given = self.given.checked_add(1)?;
        let numbers = &mut self.numbers;
        Some(Rating {
            rating_id: i64::from(self.given),
            user_id: numbers.between(-1, 19),
            stars: numbers.between(1, 4),
            route_id: numbers.between(1, 9998),
            // A conversion from f64 stops at the bounds of i64.
            rating_time: self.start.0.saturating_add(elapsed_ms as i64),
            channel: numbers.pick(&CHANNELS),
            message: numbers.pick(&MESSAGES),
        })
    }
}

/// The twenty customers, in the order of their ids. Status by id: platinum 2 4 5 6 13; gold 11 12 14 15 18 19 20;
/// silver 8 9 10; bronze 1 3 7 16 17.
pub fn customers(created: Timestamp) -> impl Iterator<Item = Customer> {
    (1..).zip(CUSTOMER_ROWS).map(move |(id, row)| {
        let (first_name, last_name, gender, club_status, comments) = row;
        let mailbox = format!("{first_name}.{last_name}").to_lowercase().replace(' ', "");
        Customer {
            id,
            first_name,
            last_name,
            email: format!("{mailbox}@example.com"),
            gender,
            club_status,
            comments,
            create_ts: created.0,
            update_ts: created.0,
        }
    })
}

impl Rating {
    /// The rating as one line of JSON, without a line end.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// The rating as a record: its id as key, JSON as value, at the time of the rating.
    pub fn to_record(&self) -> Record {
        Record::new(self.rating_id.to_string(), self.to_json()).at(Timestamp(self.rating_time))
    }
}

impl Customer {
    /// The customer as one line of JSON, without a line end.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// The customer as a record: its id as key, JSON as value, at the time of its last change.
    pub fn to_record(&self) -> Record {
        Record::new(self.id.to_string(), self.to_json()).at(Timestamp(self.update_ts))
    }
}

fn to_json(row: &impl Serialize) -> String {
    // Numbers and text under names always have a JSON form.
    serde_json::to_string(row).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000);

    fn ratings(seed: u64) -> Ratings {
        Ratings::new(seed, START, 4.0)
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers from seed 1234567, as published with the reference implementation.
        let mut numbers = SplitMix64(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| numbers.next()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_ratings_and_another_seed_others() {
        let many = |seed| ratings(seed).take(1_000).collect::<Vec<_>>();
        assert_eq!(many(7), many(7));
        assert_ne!(many(7), many(8));
    }

    #[test]
    fn every_field_covers_its_domain_and_stays_inside() {
        let many: Vec<_> = ratings(1).take(20_000).collect();
        let users: BTreeSet<_> = many.iter().map(|rating| rating.user_id).collect();
        let stars: BTreeSet<_> = many.iter().map(|rating| rating.stars).collect();
        let channels: BTreeSet<_> = many.iter().map(|rating| rating.channel).collect();
        let messages: BTreeSet<_> = many.iter().map(|rating| rating.message).collect();
        assert!(users.into_iter().eq(-1..=19));
        assert!(stars.into_iter().eq(1..=4));
        assert_eq!(channels, CHANNELS.into());
        assert_eq!(messages, MESSAGES.into());
        assert!(many.iter().all(|rating| (1..=9998).contains(&rating.route_id)));
        assert!(many.iter().map(|rating| rating.rating_id).eq(1..=20_000));
        assert!(many.iter().zip(0..).all(|(rating, n)| rating.rating_time == START.0 + n * 250));
    }

    #[test]
    fn shares_are_as_foretold() {
        const COUNT: usize = 100_000;
        let many: Vec<_> = ratings(2).take(COUNT).collect();
        let platinum: BTreeSet<_> = customers(START)
            .filter(|customer| customer.club_status == "platinum")
            .map(|customer| customer.id)
            .collect();
        let share = |holds: &dyn Fn(&Rating) -> bool| {
            many.iter().filter(|rating| holds(rating)).count() as f64 / COUNT as f64
        };
        let cases: [(f64, f64); 4] = [
            (share(&|rating| rating.user_id >= 1), 19.0 / 21.0),
            (share(&|rating| rating.channel == "iOS-test"), 1.0 / 5.0),
            (share(&|rating| rating.stars < 3), 1.0 / 2.0),
            (
                share(&|rating| rating.stars < 3 && platinum.contains(&rating.user_id)),
                5.0 / 21.0 / 2.0,
            ),
        ];
        for (found, expected) in cases {
            // Five standard deviations of a share of 1/2 among 100,000.
            assert!((found - expected).abs() < 0.008, "{found} where {expected} was expected");
        }
    }

    #[test]
    fn bounded_numbers_are_even() {
        let mut numbers = SplitMix64(3);
        let mut seen = BTreeMap::new();
        for _ in 0..70_000 {
            *seen.entry(numbers.below(7)).or_insert(0_i32) += 1;
        }
        assert!(seen.keys().copied().eq(0..7));
        assert!(seen.values().all(|times| (times - 10_000).abs() < 500), "{seen:?}");
        assert_eq!(numbers.below(1), 0);
    }

    #[test]
    fn customers_fit_their_columns() {
        let all: Vec<_> = customers(START).collect();
        assert!(all.iter().map(|customer| customer.id).eq(1..=20));
        let emails: BTreeSet<_> = all.iter().map(|customer| &customer.email).collect();
        assert_eq!(emails.len(), CUSTOMERS);
        for customer in &all {
            assert!(customer.comments.len() <= 90 && customer.club_status.len() <= 8);
            assert!(customer.email.ends_with("@example.com") && !customer.email.contains(' '));
        }
        for (status, ids) in [
            ("platinum", &[2, 4, 5, 6, 13][..]),
            ("gold", &[11, 12, 14, 15, 18, 19, 20]),
            ("silver", &[8, 9, 10]),
            ("bronze", &[1, 3, 7, 16, 17]),
        ] {
            let found = all.iter().filter(|row| row.club_status == status).map(|row| &row.id);
            assert!(found.eq(ids), "{status}");
        }
    }

    #[test]
    fn records_carry_key_time_and_fields_in_order() {
        let rating = ratings(5).next().unwrap();
        let record = rating.to_record();
        assert_eq!(record.key.unwrap(), "1");
        assert_eq!(record.timestamp, Some(START));
        let json = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let places: Vec<_> =
            ["rating_id", "user_id", "stars", "route_id", "rating_time", "channel", "message"]
                .map(|name| json.find(&format!("\"{name}\":")).unwrap())
                .into();
        assert!(places.is_sorted());
        let customer = customers(START).next().unwrap();
        assert_eq!(customer.to_record().key.unwrap(), "1");
        assert!(customer.to_json().starts_with(r#"{"id":1,"first_name":"Ada""#));
    }
}
