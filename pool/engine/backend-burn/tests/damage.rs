//! Saved networks that are not what a training wrote.

use backend_burn::table;
use contract::v1::Parameter;
use contract::v1::parameter::Value::Int64Value;
use std::collections::BTreeMap;
use trial::{Folder, Table, parameters};

fn short() -> BTreeMap<String, Parameter> {
    parameters([("epochs", Int64Value(1))])
}

/// Each network, with a table that it can learn from.
fn networks() -> [(&'static str, Table); 3] {
    [
        ("multilayer-perceptron", Table::read("iris")),
        ("multilayer-perceptron-regression", Table::read("diabetes")),
        ("convolutional-network", Table::read("digits")),
    ]
}

#[test]
fn every_network_is_among_these() {
    let tested = networks().map(|(name, _)| name);
    assert!(table().algorithms().iter().map(|algorithm| algorithm.name).eq(tested));
}

#[test]
fn a_damaged_file_is_refused_with_a_reason() {
    for (name, data) in networks() {
        let folder = Folder::new();
        let trained = trial::train(&table(), name, &data, short(), folder.path()).expect("it trains");
        trial::a_damaged_file_is_refused(&table(), &trained, folder.path(), name);
    }
}

#[test]
fn a_forged_file_is_an_error_or_answers() {
    for (name, data) in networks() {
        let folder = Folder::new();
        let trained = trial::train(&table(), name, &data, short(), folder.path()).expect("it trains");
        trial::a_forged_file_is_survived(&table(), &trained, folder.path(), &data, name);
    }
}
