//! Parameters of a training: declared as rules, so that they can be checked before any work is done, and listed.

use contract::v1::{Parameter, parameter::Value};
use engine_core::EngineError;
use std::collections::BTreeMap;

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Kind {
    /// A whole number, bounds included.
    Whole { default: u64, least: u64, most: u64 },
    /// Any number, bounds included.
    Number { default: f64, least: f64, most: f64 },
    /// Yes or no.
    Flag { default: bool },
    /// One of some words.
    Choice { default: &'static str, options: &'static [&'static str] },
}

/// A parameter that an algorithm takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// As requests name it.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
}

impl Rule {
    /// A whole number.
    pub const fn whole(name: &'static str, default: u64, least: u64, most: u64) -> Self {
        Self { name, kind: Kind::Whole { default, least, most } }
    }

    /// Any number.
    pub const fn number(name: &'static str, default: f64, least: f64, most: f64) -> Self {
        Self { name, kind: Kind::Number { default, least, most } }
    }

    /// Yes or no.
    pub const fn flag(name: &'static str, default: bool) -> Self {
        Self { name, kind: Kind::Flag { default } }
    }

    /// One of some words; the first is the default.
    pub const fn choice(name: &'static str, options: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Choice { default: options[0], options } }
    }

    fn default(&self) -> Setting {
        match self.kind {
            Kind::Whole { default, .. } => Setting::Whole(default),
            Kind::Number { default, .. } => Setting::Number(default),
            Kind::Flag { default } => Setting::Flag(default),
            Kind::Choice { default, .. } => Setting::Choice(default),
        }
    }

    fn read(&self, value: &Value) -> Option<Setting> {
        match self.kind {
            Kind::Whole { least, most, .. } => {
                whole(value).filter(|number| (least..=most).contains(number)).map(Setting::Whole)
            }
            Kind::Number { least, most, .. } => {
                number(value).filter(|number| (least..=most).contains(number)).map(Setting::Number)
            }
            Kind::Flag { .. } => match value {
                Value::BoolValue(flag) => Some(Setting::Flag(*flag)),
                _ => None,
            },
            Kind::Choice { options, .. } => match value {
                Value::StringValue(word) => {
                    options.iter().find(|option| *option == word).map(|word| Setting::Choice(word))
                }
                _ => None,
            },
        }
    }

    fn expectation(&self) -> String {
        match self.kind {
            Kind::Whole { least, most, .. } => format!("a whole number from {least} to {most}"),
            Kind::Number { least, most, .. } => format!("a number from {least} to {most}"),
            Kind::Flag { .. } => "a bool".to_owned(),
            Kind::Choice { options, .. } => format!("one of {}", options.join(", ")),
        }
    }
}

/// Doubles stand for whole numbers where they are some: JSON clients do not tell them apart.
fn whole(value: &Value) -> Option<u64> {
    const EXACT_MOST: f64 = (1_u64 << 53) as f64;
    match value {
        Value::Int64Value(number) => u64::try_from(*number).ok(),
        Value::DoubleValue(number) if number.fract() == 0.0 && (0.0..=EXACT_MOST).contains(number) => {
            Some(*number as u64)
        }
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int64Value(number) => Some(*number as f64),
        Value::DoubleValue(number) => Some(*number),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy)]
enum Setting {
    Whole(u64),
    Number(f64),
    Flag(bool),
    Choice(&'static str),
}

/// The parameters of one training: given or by default, all within their bounds.
#[derive(Debug, Clone)]
pub struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    /// Checks `given` by `rules`. Unknown names are refused, so that a typing error is not a silent default.
    pub fn read<'rules>(
        rules: impl IntoIterator<Item = &'rules Rule>,
        given: &BTreeMap<String, Parameter>,
    ) -> Result<Self, EngineError> {
        let rules: Vec<&Rule> = rules.into_iter().collect();
        let mut settings: BTreeMap<_, _> = rules.iter().map(|rule| (rule.name, rule.default())).collect();
        for (name, parameter) in given {
            let Some(rule) = rules.iter().find(|rule| rule.name == name) else {
                let known: Vec<_> = rules.iter().map(|rule| rule.name).collect();
                let message = format!("There is no parameter \"{name}\" here; there are {}.", known.join(", "));
                return Err(EngineError::invalid(name, message));
            };
            let setting = parameter
                .value
                .as_ref()
                .and_then(|value| rule.read(value))
                .ok_or_else(|| EngineError::invalid(name, format!("\"{name}\" must be {}.", rule.expectation())))?;
            settings.insert(rule.name, setting);
        }
        Ok(Self(settings))
    }

    /// The whole number `name`. Panics where no such rule was read: a mistake in the table, which a test of it finds.
    pub fn whole(&self, name: &str) -> u64 {
        match self.0[name] {
            Setting::Whole(number) => number,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// The same as a size.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.whole(name)).unwrap_or(usize::MAX)
    }

    /// The number `name`; panics as [`whole`](Self::whole) does.
    pub fn number(&self, name: &str) -> f64 {
        match self.0[name] {
            Setting::Number(number) => number,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// The flag `name`; panics as [`whole`](Self::whole) does.
    pub fn flag(&self, name: &str) -> bool {
        match self.0[name] {
            Setting::Flag(flag) => flag,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// The word `name`; panics as [`whole`](Self::whole) does.
    pub fn choice(&self, name: &str) -> &'static str {
        match self.0[name] {
            Setting::Choice(word) => word,
            other => panic!("{name} is {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 3] = [
        Rule::whole("trees", 100, 1, 500),
        Rule::number("alpha", 1.0, 0.0, 10.0),
        Rule::choice("kernel", &["rbf", "linear"]),
    ];

    fn given(name: &str, value: Value) -> BTreeMap<String, Parameter> {
        BTreeMap::from([(name.to_owned(), Parameter { value: Some(value) })])
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let settings = Settings::read(&RULES, &BTreeMap::new()).unwrap();
        assert_eq!((settings.whole("trees"), settings.number("alpha"), settings.choice("kernel")), (100, 1.0, "rbf"));
    }

    #[test]
    fn errors_name_the_parameter_and_its_bounds() {
        let cases = [
            (given("trees", Value::Int64Value(0)), "trees", "from 1 to 500"),
            (given("trees", Value::DoubleValue(1.5)), "trees", "whole number"),
            (given("alpha", Value::DoubleValue(f64::NAN)), "alpha", "from 0 to 10"),
            (given("alpha", Value::StringValue("1".into())), "alpha", "a number"),
            (given("kernel", Value::StringValue("cubic".into())), "kernel", "one of rbf, linear"),
            (given("tree", Value::Int64Value(1)), "tree", "there are trees, alpha, kernel"),
        ];
        for (given, parameter, text) in cases {
            let error = Settings::read(&RULES, &given).unwrap_err();
            assert_eq!(error.parameter.as_deref(), Some(parameter));
            assert!(error.message.contains(text), "{}", error.message);
        }
    }

    #[test]
    fn bounds_belong_to_the_range_and_whole_doubles_are_whole_numbers() {
        let settings = Settings::read(&RULES, &given("trees", Value::DoubleValue(500.0))).unwrap();
        assert_eq!(settings.whole("trees"), 500);
    }
}
