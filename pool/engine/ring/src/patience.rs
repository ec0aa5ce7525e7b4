//! Watching for a moment before sleeping. To sleep and be woken costs both sides some 10 µs, more than the shortest calls
//! take; so who has lately been answered within a moment looks that long before it sleeps ("spin, then block": Karlin,
//! Manasse, McGeoch, Owicki 1990). Who waits longer than that sleeps at once, and costs nothing; and who watched in vain
//! does so ever more rarely, for then both sides may have to share one processor.

use std::time::{Duration, Instant};

/// How long to watch, at most: about what is lost where it was in vain, once. It holds two wake-ups of an idle machine, some
/// 30 µs each, and a short call between them, so that calls which have once slept come back to watching.
pub const WATCH_MAX: Duration = Duration::from_micros(100);
/// Looks between two looks at the clock.
const LOOKS: u32 = 32;
/// Waits that are slept through after watching in vain: 1, 2, 4, up to 2 to the power of this.
const VAIN_MAX: u32 = 10;

/// Whether watching is worth it.
#[derive(Debug)]
pub struct Patience {
    can_watch: bool,
    /// The last wait was over within [`WATCH_MAX`].
    was_short: bool,
    /// How often in a row it was in vain, up to [`VAIN_MAX`].
    vain: u32,
    /// Waits to sleep through before the next try.
    skip: u32,
}

impl Patience {
    /// On a machine with that many processors: on one, watching would keep the other side from its work.
    pub fn new(processors: usize) -> Self {
        Self { can_watch: processors > 1, was_short: true, vain: 0, skip: 0 }
    }

    /// Watches until `is_there`, if that is worth it, and tells whether it was.
    pub fn watch(&mut self, is_there: impl FnMut() -> bool) -> bool {
        if !self.can_watch || !self.was_short {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if look(is_there) {
            self.vain = 0;
            return true;
        }
        self.skip = 1 << self.vain;
        self.vain = VAIN_MAX.min(self.vain + 1);
        false
    }

    /// What was waited for came after `waited`, by watching or by sleeping.
    pub fn learn(&mut self, waited: Duration) {
        self.was_short = waited <= WATCH_MAX;
    }
}

fn look(mut is_there: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if is_there() {
                return true;
            }
            std::hint::spin_loop();
        }
        if since.elapsed() >= WATCH_MAX {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits that are slept through until the next look.
    fn waits_without_a_look(patience: &mut Patience) -> u32 {
        let (mut looked, mut waits) = (false, 0);
        loop {
            patience.watch(|| {
                looked = true;
                true
            });
            if looked {
                return waits;
            }
            waits += 1;
        }
    }

    #[test]
    fn who_waited_long_sleeps_at_once_until_a_wait_was_short() {
        let mut patience = Patience::new(2);
        assert!(patience.watch(|| true));
        patience.learn(WATCH_MAX + Duration::from_nanos(1));
        assert!(!patience.watch(|| panic!("not even one look")));
        patience.learn(WATCH_MAX);
        assert!(patience.watch(|| true));
    }

    #[test]
    fn who_watches_in_vain_does_so_ever_more_rarely_until_it_helps() {
        let mut patience = Patience::new(2);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024] {
            let mut looks = 0;
            let watched = patience.watch(|| {
                looks += 1;
                false
            });
            assert!(!watched && looks >= LOOKS);
            assert_eq!(patience.skip, expected);
            patience.skip = 0;
        }
        patience.skip = 3;
        assert_eq!(waits_without_a_look(&mut patience), 3);
        assert_eq!(waits_without_a_look(&mut patience), 0);
        assert!(!patience.watch(|| false));
        assert_eq!(patience.skip, 1);
    }

    #[test]
    fn one_processor_never_watches() {
        assert!(!Patience::new(1).watch(|| panic!("not even one look")));
    }
}
