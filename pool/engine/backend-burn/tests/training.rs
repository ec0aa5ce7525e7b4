//! Burn's networks on real tables, beside scikit-learn's figures.

use backend_burn::table;
use contract::v1::parameter::Value::Int64Value;
use std::collections::BTreeMap;
use trial::{Table, expected, parameters, score};

#[test]
fn a_perceptron_is_about_as_right_as_scikit_learns() {
    for name in ["iris", "wine", "digits"] {
        let (score, _) = score(&table(), "multilayer-perceptron", &Table::read(name), BTreeMap::new());
        let expected = expected(name, "multilayer-perceptron");
        println!("{name} multilayer-perceptron: {score:.4}, scikit-learn {expected:.4}");
        assert!(score >= expected - 0.06, "{name}: {score} instead of {expected}");
    }
}

#[test]
fn filters_read_digits() {
    let given = parameters([("epochs", Int64Value(10))]);
    let (score, _) = score(&table(), "convolutional-network", &Table::read("digits"), given);
    println!("digits convolutional-network: {score:.4}");
    assert!(score > 0.9, "{score}");
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let given = || parameters([("epochs", Int64Value(3)), ("seed", Int64Value(5))]);
    let iris = Table::read("iris");
    let first = score(&table(), "multilayer-perceptron", &iris, given());
    assert_eq!(first, score(&table(), "multilayer-perceptron", &iris, given()));
}

#[test]
fn a_cancelled_training_ends_between_mini_batches() {
    let endless = parameters([("epochs", Int64Value(10_000))]);
    trial::a_cancelled_training_ends(&table(), "multilayer-perceptron", &Table::read("digits"), &endless);
}
