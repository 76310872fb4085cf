//! When to try again: pauses that grow, with chance from a seed, and the loop for calls that are safe to repeat.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::BackoffConfig;
use crate::error::Result;

/// Small pseudo-random numbers (xorshift64*): for pauses and rotations, never for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers; without one they differ each time.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        // Keys of hash maps are the one source of chance that the standard library has.
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        // The state must not be 0, where the generator would stay.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number in `..end`; 0 when that is empty.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }
}

/// The pause after each of a row of failures.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    config: BackoffConfig,
    failures: u32,
    rng: Rng,
}

impl Backoff {
    pub(crate) fn new(config: BackoffConfig) -> Self {
        Self { config, failures: 0, rng: Rng::new(config.seed) }
    }

    /// One more failure: the pause before the next attempt.
    pub(crate) fn fail(&mut self) -> Duration {
        let pause = pause_after(&self.config, self.failures, &mut self.rng);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// It went well: the row of failures is over.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }
}

/// The pause before the next attempt when `failures` have gone before this one.
pub(crate) fn pause_after(config: &BackoffConfig, failures: u32, rng: &mut Rng) -> Duration {
    let doubled = config.first.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    let pause = doubled.min(config.longest);
    // Half of it is chance, so that many clients do not come back all at once.
    let half = pause / 2;
    let half_us = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    pause - half + Duration::from_micros(rng.below(half_us.saturating_add(1)))
}

/// Repeats a call that changes nothing until it succeeds, fails for good, or `give_up` has passed (`None`: never).
///
/// # Errors
/// The last error. Dropping the future ends the attempts.
pub(crate) async fn persist<T, C: Future<Output = Result<T>>>(
    config: BackoffConfig,
    give_up: Option<Duration>,
    mut call: impl FnMut() -> C,
) -> Result<T> {
    let started = Instant::now();
    let mut backoff = Backoff::new(config);
    loop {
        let error = match call().await {
            Ok(done) => return Ok(done),
            Err(error) if !error.may_retry() => return Err(error),
            Err(error) => error,
        };
        let pause = backoff.fail();
        if give_up.is_some_and(|limit| started.elapsed() + pause >= limit) {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::outcome::Outcome;

    use super::{Rng, *};
    use crate::error::Error;

    proptest! {
        #[test]
        fn pauses_grow_within_their_bounds(seed: u64, failures in 0_u32..200) {
            let config = BackoffConfig::default();
            let pause = pause_after(&config, failures, &mut Rng::new(Some(seed)));
            let full = config.longest.min(config.first.saturating_mul(1 << failures.min(20)));
            prop_assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        }

        #[test]
        fn the_same_seed_gives_the_same_numbers(seed: u64) {
            let (mut one, mut two) = (Rng::new(Some(seed)), Rng::new(Some(seed)));
            for _ in 0..10 {
                prop_assert_eq!(one.next(), two.next());
            }
        }
    }

    #[tokio::test]
    async fn a_call_is_repeated_until_it_succeeds_or_may_not_be() {
        let config = BackoffConfig::default().first(Duration::from_millis(1));
        let mut outcomes = [Outcome::Busy, Outcome::Unavailable].into_iter();
        let done = persist(config, None, || {
            std::future::ready(match outcomes.next() {
                Some(outcome) => Err(Error::new(outcome, "")),
                None => Ok(7),
            })
        });
        assert_eq!(done.await, Ok(7));
        let refused = persist(config, None, || {
            std::future::ready(Err::<(), _>(Error::new(Outcome::Denied, "")))
        });
        assert_eq!(refused.await.unwrap_err().outcome(), Outcome::Denied);
        let limit = Some(Duration::from_millis(5));
        let given_up = persist(config, limit, || {
            std::future::ready(Err::<(), _>(Error::new(Outcome::Busy, "")))
        });
        assert_eq!(given_up.await.unwrap_err().outcome(), Outcome::Busy);
    }
}
