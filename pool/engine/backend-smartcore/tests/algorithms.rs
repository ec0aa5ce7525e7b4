//! SmartCore's algorithms on real tables, beside scikit-learn's figures.

use backend_smartcore::table;
use contract::v1::parameter::Value::{BoolValue, DoubleValue, Int64Value, StringValue};
use contract::v1::{Parameter, parameter::Value};
use std::collections::BTreeMap;
use trial::{Folder, Table, expected, parameters, score};

#[test]
fn every_algorithm_keeps_its_promises() {
    trial::every_algorithm_keeps_its_promises(&table(), &[]);
}

#[test]
fn classifiers_are_about_as_right_as_scikit_learns() {
    let algorithms = [
        "logistic-regression",
        "decision-tree",
        "random-forest",
        "k-nearest-neighbours",
        "support-vector-machine",
        "naive-bayes",
    ];
    for name in ["iris", "wine", "digits"] {
        let data = Table::read(name);
        for algorithm in algorithms {
            let (score, _) = score(&table(), algorithm, &data, BTreeMap::new());
            let expected = expected(name, algorithm);
            println!("{name} {algorithm}: {score:.4}, scikit-learn {expected:.4}");
            assert!(score >= expected - 0.06, "{name} {algorithm}: {score} instead of {expected}");
        }
    }
}

#[test]
fn regressions_explain_about_as_much_as_scikit_learns() {
    let standardized = || parameters([("standardize", BoolValue(true))]);
    let with = |name, value| {
        let mut parameters = standardized();
        parameters.insert(String::from(name), Parameter { value: Some(value) });
        parameters
    };
    let cases = [
        ("linear-regression", BTreeMap::new(), 1e-3),
        ("ridge-regression", standardized(), 0.01),
        ("lasso", standardized(), 0.02),
        ("elastic-net", with("alpha", DoubleValue(0.1)), 0.02),
        ("decision-tree-regression", with("depth_max", Int64Value(4)), 0.12),
        ("random-forest-regression", BTreeMap::new(), 0.06),
        ("k-nearest-neighbours-regression", BTreeMap::new(), 0.02),
        ("support-vector-regression", with("c", DoubleValue(100.0)), 0.06),
    ];
    let data = Table::read("diabetes");
    for (algorithm, parameters, tolerance) in cases {
        let (score, _) = score(&table(), algorithm, &data, parameters);
        let expected = expected("diabetes", algorithm);
        println!("diabetes {algorithm}: {score:.4}, scikit-learn {expected:.4}");
        assert!(score >= expected - tolerance, "{algorithm}: {score} instead of {expected}");
    }
}

#[test]
fn clusters_and_components_are_scikit_learns() {
    let iris = Table::read("iris");
    let metric = |algorithm: &str, given: BTreeMap<String, Parameter>, name: &str| {
        let trained = trial::train(&table(), algorithm, &iris, given, Folder::new().path()).unwrap();
        trained.metrics[name]
    };
    let inertia = metric("k-means", parameters([("k", Int64Value(3))]), "inertia");
    assert!(inertia <= expected("iris", "k-means inertia") * 1.01, "{inertia}");
    let ratio = metric("pca", BTreeMap::new(), "explained_variance_ratio");
    assert!((ratio - expected("iris", "pca explained_variance_ratio")).abs() < 1e-4, "{ratio}");
    let clusters = metric("dbscan", BTreeMap::new(), "clusters");
    assert_eq!(clusters, expected("iris", "dbscan clusters"));
}

#[test]
fn every_solver_kernel_and_search_works() {
    let cases: [(&str, &str, &str, &str, f64); 9] = [
        ("diabetes", "linear-regression", "solver", "qr", 0.3),
        ("diabetes", "ridge-regression", "solver", "svd", 0.3),
        ("iris", "support-vector-machine", "kernel", "linear", 0.9),
        ("iris", "support-vector-machine", "kernel", "polynomial", 0.9),
        ("diabetes", "support-vector-regression", "kernel", "linear", 0.2),
        ("iris", "k-nearest-neighbours", "search", "linear", 0.9),
        ("iris", "k-nearest-neighbours", "weights", "distance", 0.9),
        ("iris", "decision-tree", "criterion", "entropy", 0.9),
        ("iris", "random-forest", "criterion", "entropy", 0.9),
    ];
    for (data, algorithm, name, word, least) in cases {
        let value: Value = StringValue(word.into());
        let (score, _) = score(&table(), algorithm, &Table::read(data), parameters([(name, value)]));
        assert!(score >= least, "{algorithm} with {word}: {score}");
    }
}

#[test]
fn held_back_rows_are_measured_apart() {
    let given = parameters([("test_fraction", DoubleValue(0.25)), ("seed", Int64Value(3))]);
    let trained = trial::train(&table(), "naive-bayes", &Table::read("wine"), given, Folder::new().path()).unwrap();
    assert_eq!((trained.metrics["rows"], trained.metrics["test_rows"]), (134.0, 44.0));
    assert!(trained.metrics["test_accuracy"] > 0.9, "{:?}", trained.metrics);
}

#[test]
fn mistakes_are_named() {
    let iris = Table::read("iris");
    let cases = [
        ("k-means", parameters([("k", Int64Value(1))]), "k"),
        ("k-means", parameters([("k", Int64Value(151))]), "k"),
        ("pca", parameters([("components", Int64Value(5))]), "components"),
        ("random-forest", parameters([("depth", Int64Value(5))]), "depth"),
        ("support-vector-machine", parameters([("kernel", StringValue("cubic".into()))]), "kernel"),
        ("gradient-boosting", BTreeMap::new(), "algorithm"),
    ];
    for (algorithm, given, parameter) in cases {
        let error = trial::train(&table(), algorithm, &iris, given, Folder::new().path()).unwrap_err();
        assert_eq!(error.parameter.as_deref(), Some(parameter), "{error}");
    }
}

#[test]
fn a_cancelled_training_ends_between_duels() {
    let digits = Table::read("digits");
    trial::a_cancelled_training_ends(&table(), "support-vector-machine", &digits, &BTreeMap::new());
}
