//! Names of models and numbers of versions, as they come from clients. A name becomes a folder's name, so it is checked
//! before anything else happens.

use crate::error::{EngineError, Reason};

/// Bytes of a name, at most.
pub const NAME_BYTES_MAX: usize = 128;

/// Fails unless `name` is letters, digits, `.`, `_` and `-`, and begins with a letter or digit.
pub fn check_name(name: &str) -> Result<(), EngineError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if begins_well && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = format!(
        "A model's name is 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' or '-', and begins with a letter or digit."
    );
    Err(EngineError::invalid("model", message))
}

/// The version asked for; none where the text is empty.
pub fn parse_version(text: &str) -> Result<Option<u64>, EngineError> {
    if text.is_empty() {
        return Ok(None);
    }
    version_number(text)
        .map(Some)
        .ok_or_else(|| EngineError::invalid("version", "A version is a whole number from 1, without a sign or zeros."))
}

/// A version as a folder or a client writes it: decimal, from 1, and in the one way to write it.
pub fn version_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// No such model.
pub fn model_not_found(name: &str) -> EngineError {
    EngineError {
        parameter: Some("model".to_owned()),
        ..EngineError::new(Reason::ModelNotFound, format!("There is no model \"{name}\"."))
    }
}

/// No such version.
pub fn version_not_found(name: &str, version: u64) -> EngineError {
    let message = format!("The model \"{name}\" has no version {version}.");
    EngineError { parameter: Some("version".to_owned()), ..EngineError::new(Reason::ModelNotFound, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for good in ["a", "all-minilm-l6-v2", "Model_1.5", "0", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "-x",
            "a/b",
            "a\\b",
            "../a",
            "a\0b",
            "ä",
            "a b",
            "a:1",
            &"x".repeat(NAME_BYTES_MAX + 1),
        ] {
            let error = check_name(bad).expect_err(bad);
            assert_eq!((error.reason, error.parameter.as_deref()), (Reason::InvalidArgument, Some("model")), "{bad}");
        }
    }

    #[test]
    fn a_version_is_written_in_one_way() {
        assert_eq!(parse_version(""), Ok(None));
        assert_eq!(parse_version("1"), Ok(Some(1)));
        assert_eq!(parse_version("18446744073709551615"), Ok(Some(u64::MAX)));
        for bad in ["0", "01", "+1", "-1", " 1", "1 ", "1.0", "latest", "18446744073709551616", "١"] {
            assert_eq!(parse_version(bad).expect_err(bad).parameter.as_deref(), Some("version"), "{bad}");
        }
    }
}
