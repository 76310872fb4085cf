//! A wait after a failure: longer each time, until something succeeds.

use std::time::Duration;

use tokio::time::Instant;

/// When something that failed may be tried again, and why it failed.
#[derive(Clone, Debug)]
pub struct Pause {
    shortest: Duration,
    longest: Duration,
    last: Duration,
    until: Option<Instant>,
    cause: Option<String>,
}

impl Pause {
    /// Nothing has failed yet. Pauses are so long at least and at most.
    pub fn between((shortest, longest): (Duration, Duration)) -> Self {
        Self { shortest, longest, last: Duration::ZERO, until: None, cause: None }
    }

    /// It failed, for this reason.
    pub fn failed(&mut self, cause: String) {
        self.last = (self.last * 2).clamp(self.shortest, self.longest);
        self.until = Some(Instant::now() + self.last);
        self.cause = Some(cause);
    }

    /// It succeeded.
    pub fn clear(&mut self) {
        *self = Self::between((self.shortest, self.longest));
    }

    /// True when it may be tried (again).
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// When it may be tried again. `None`: nothing has failed since the last success.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Why it failed last. `None`: it has not failed since the last success.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew_after_a_success() {
        let mut pause = Pause::between((Duration::from_millis(1), Duration::from_millis(4)));
        assert!(pause.is_over(Instant::now()) && pause.cause().is_none());
        for longest in [1, 2, 4, 4] {
            let before = Instant::now();
            pause.failed("x".to_owned());
            let until = pause.until().unwrap();
            assert!(until >= before + Duration::from_millis(longest));
            assert!(until <= Instant::now() + Duration::from_millis(longest));
            assert!(!pause.is_over(before) && pause.is_over(until));
        }
        assert_eq!(pause.cause(), Some("x"));
        pause.clear();
        assert!(pause.is_over(Instant::now()) && pause.cause().is_none());
    }
}
