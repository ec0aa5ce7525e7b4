//! What becomes of one character: the reference's clean-up, accent stripping and lower-casing in one look-up.

use super::tables::{COMBINING, IDEOGRAPHS, MAPPED, MAPPED_TEXT, PUNCTUATION, REMOVED, SPACES};

/// A character's normal form.
pub(super) enum Fold {
    /// Leaves no trace.
    Removed,
    /// Ends a word.
    Space,
    /// A word of its own.
    Ideograph(char),
    /// A Hangul syllable's two or three letters.
    Hangul([Option<char>; 3]),
    /// One or more other characters.
    Form(&'static str),
    /// Stays as it is.
    Itself,
}

/// The form of a character outside ASCII.
pub(super) fn fold(character: char) -> Fold {
    let point = character as u32;
    if let Some(letters) = hangul(point) {
        return Fold::Hangul(letters);
    }
    if within(&IDEOGRAPHS, point) {
        let form = mapped(point).and_then(|form| form.chars().next());
        return Fold::Ideograph(form.unwrap_or(character));
    }
    if let Some(form) = mapped(point) {
        return Fold::Form(form);
    }
    if within(&SPACES, point) {
        return Fold::Space;
    }
    if within(&REMOVED, point) { Fold::Removed } else { Fold::Itself }
}

/// Whether a character, ASCII or not, is punctuation.
pub(super) fn is_punctuation(character: char) -> bool {
    within(&PUNCTUATION, character as u32)
}

/// Where a mark stands in canonical order; 0 for everything that is no mark.
pub(super) fn combining_class(character: char) -> u8 {
    let point = character as u32;
    if point < COMBINING[0].0 {
        return 0;
    }
    let row = COMBINING.partition_point(|&(first, ..)| first <= point);
    match COMBINING.get(row.wrapping_sub(1)) {
        Some(&(_, last, class)) if point <= last => class,
        _ => 0,
    }
}

fn within(ranges: &[(u32, u32)], point: u32) -> bool {
    let row = ranges.partition_point(|&(first, _)| first <= point);
    row > 0 && point <= ranges[row - 1].1
}

fn mapped(point: u32) -> Option<&'static str> {
    let row = MAPPED.binary_search_by_key(&point, |&(key, _)| key).ok()?;
    let next = MAPPED.get(row + 1)?;
    MAPPED_TEXT.get(MAPPED[row].1 as usize..next.1 as usize)
}

/// The Unicode standard's arithmetic for Hangul syllables (section 3.12).
fn hangul(point: u32) -> Option<[Option<char>; 3]> {
    const SYLLABLES: u32 = 11_172;
    let index = point.checked_sub(0xac00).filter(|&index| index < SYLLABLES)?;
    let last = index % 28;
    let last = if last == 0 { None } else { char::from_u32(0x11a7 + last) };
    Some([char::from_u32(0x1100 + index / 588), char::from_u32(0x1161 + index % 588 / 28), last])
}
