//! Ends a text before a stop string. What may become one is held back, so that no part of it is ever sent.

use engine_core::EngineError;

/// Stop strings of a request, at most.
pub const STOPS_MAX: usize = 16;
/// Bytes of a stop string, at most.
pub const STOP_BYTES_MAX: usize = 256;

/// Looks for stop strings in a text that comes piece by piece.
#[derive(Debug, Clone)]
pub struct StopFilter {
    stops: Vec<String>,
    /// The end of the text so far that may become a stop string; shorter than the longest of them.
    held: String,
}

impl StopFilter {
    /// A filter for the stop strings of a request.
    ///
    /// # Errors
    /// `InvalidArgument` where there are too many, or one is empty or too long.
    pub fn new(stops: &[String]) -> Result<Self, EngineError> {
        let refuse = |message: String| Err(EngineError::invalid("stop", message));
        if stops.len() > STOPS_MAX {
            return refuse(format!("A request has at most {STOPS_MAX} stop strings."));
        }
        if stops.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
            return refuse(format!("A stop string has 1 to {STOP_BYTES_MAX} bytes."));
        }
        Ok(Self { stops: stops.to_vec(), held: String::new() })
    }

    /// Takes the next piece and gives the text that may be sent, and whether a stop string was met. After that the filter is
    /// empty, and what comes is to be dropped.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        if self.stops.is_empty() {
            return (piece.to_owned(), false);
        }
        self.held.push_str(piece);
        if let Some(position) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(position);
            return (text, true);
        }
        let keep = self.held.len() - self.possible_start();
        (self.held.drain(..keep).collect(), false)
    }

    /// The text held back, at the end.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of the held text that a stop string begins with.
    fn possible_start(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let lengths = (1..longest.min(self.held.len() + 1)).rev();
        let is_start = |length: &usize| {
            let end = &self.held.as_bytes()[self.held.len() - length..];
            self.stops.iter().any(|stop| stop.as_bytes().starts_with(end))
        };
        lengths.into_iter().find(is_start).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn filter(stops: &[&str]) -> StopFilter {
        StopFilter::new(&stops.iter().map(|stop| (*stop).to_owned()).collect::<Vec<_>>()).expect("a filter")
    }

    #[test]
    fn a_stop_string_across_pieces_never_leaks() {
        let mut stop = filter(&["END"]);
        assert_eq!(stop.push("text E"), ("text ".to_owned(), false));
        assert_eq!(stop.push("N"), (String::new(), false));
        assert_eq!(stop.push("D more"), (String::new(), true));
        let mut other = filter(&["END"]);
        assert_eq!(other.push("EN"), (String::new(), false));
        assert_eq!(other.push("EN"), ("EN".to_owned(), false));
        assert_eq!(other.finish(), "EN");
    }

    #[test]
    fn the_text_is_the_same_however_it_is_cut() {
        let seed = 31;
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        for _ in 0..3_000 {
            let mut word = |length: u64| -> String {
                (0..length).map(|_| ['a', 'b', 'é', '🦀'][random.below(4) as usize]).collect()
            };
            let text = word(30);
            let stops = [word(1 + text.len() as u64 % 4), word(3)];
            let expected = stops.iter().filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len());
            let mut stop = filter(&[&stops[0], &stops[1]]);
            let (mut sent, mut rest, mut met) = (String::new(), text.as_str(), false);
            while !rest.is_empty() && !met {
                let length = rest.chars().take(1 + random.below(3) as usize).map(char::len_utf8).sum();
                let (piece, after) = rest.split_at(length);
                let (free, found) = stop.push(piece);
                sent.push_str(&free);
                assert!(stops.iter().all(|stop| !sent.contains(stop.as_str())), "{text} {stops:?}");
                (rest, met) = (after, found);
            }
            sent.push_str(&stop.finish());
            // As tokens come, a short stop string may be met before a longer one that began earlier.
            assert!(text.starts_with(&sent) && sent.len() >= expected);
            assert_eq!(met, expected < text.len());
        }
    }

    #[test]
    fn bounds_hold_at_their_edge() {
        assert!(StopFilter::new(&vec!["x".repeat(STOP_BYTES_MAX); STOPS_MAX]).is_ok());
        assert!(StopFilter::new(&vec!["x".to_owned(); STOPS_MAX + 1]).is_err());
        assert!(StopFilter::new(&["x".repeat(STOP_BYTES_MAX + 1)]).is_err());
        assert!(StopFilter::new(&[String::new()]).is_err());
    }
}
