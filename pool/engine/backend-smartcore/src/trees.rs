//! Decision trees, random forests, extremely randomised trees and boosted trees.

use crate::convert::{broken, classes, dense, labels, matrix, refused};
use engine_core::EngineError;
use serde::{Deserialize, Serialize};
use smartcore::ensemble::extra_trees_regressor::{ExtraTreesRegressor, ExtraTreesRegressorParameters};
use smartcore::ensemble::random_forest_classifier::{RandomForestClassifier, RandomForestClassifierParameters};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_classifier::{
    DecisionTreeClassifier, DecisionTreeClassifierParameters, SplitCriterion,
};
use smartcore::tree::decision_tree_regressor::{DecisionTreeRegressor, DecisionTreeRegressorParameters};
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

type Numbers = Vec<f64>;
type Labels = Vec<u32>;
type Table = DenseMatrix<f64>;

const CRITERION: Rule = Rule::choice("criterion", &["gini", "entropy"]);
const DEPTH: Rule = Rule::whole("depth_max", 32, 1, 64);
const LEAF: Rule = Rule::whole("samples_leaf_min", 1, 1, 1_000_000);
const SPLIT: Rule = Rule::whole("samples_split_min", 2, 2, 1_000_000);
const TREES: Rule = Rule::whole("trees", 100, 1, 2_000);
/// Columns that each split chooses among; 0: the library's default.
const COLUMNS: Rule = Rule::whole("columns_a_split", 0, 0, 65_536);

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    use Task::{Classification, Regression};
    let regression_forest = [DEPTH, LEAF, SPLIT, TREES, COLUMNS];
    vec![
        Algorithm::new("decision-tree", Classification, fit_tree, decode_stored::<Tree>)
            .with_rules([CRITERION, DEPTH, LEAF, SPLIT]),
        Algorithm::new("decision-tree-regression", Regression, fit_regression_tree, decode_stored::<RegressionTree>)
            .with_rules([DEPTH, LEAF, SPLIT]),
        Algorithm::new("random-forest", Classification, fit_forest, decode_stored::<Forest>)
            .with_rules([CRITERION, DEPTH, LEAF, SPLIT, TREES, COLUMNS]),
        Algorithm::new(
            "random-forest-regression",
            Regression,
            fit_regression_forest,
            decode_stored::<RegressionForest>,
        )
        .with_rules(regression_forest),
        Algorithm::new("extra-trees-regression", Regression, fit_extra_trees, decode_stored::<ExtraTrees>)
            .with_rules(regression_forest),
        Algorithm::new("gradient-boosting-regression", Regression, fit_boosting, decode_stored::<Boosting>).with_rules(
            [
                TREES,
                Rule::whole("depth_max", 6, 1, 32),
                Rule::number("learning_rate", 0.3, 1e-6, 1.0),
                Rule::number("lambda", 1.0, 0.0, 1e6),
                Rule::number("gamma", 0.0, 0.0, 1e6),
                Rule::number("subsample", 1.0, 0.05, 1.0),
            ],
        ),
    ]
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Tree(DecisionTreeClassifier<f64, u32, Table, Labels>);

impl Predict for Tree {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let rows = dense(rows)?;
        let probabilities = matrix(&self.0.predict_proba(&rows).map_err(broken)?);
        Ok(classes(self.0.predict(&rows).map_err(broken)?, Some(probabilities)))
    }
}

fn fit_tree(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = DecisionTreeClassifierParameters {
        criterion: criterion(settings),
        max_depth: depth(settings),
        min_samples_leaf: settings.size("samples_leaf_min"),
        min_samples_split: settings.size("samples_split_min"),
        seed: Some(settings.whole("seed")),
    };
    let model = DecisionTreeClassifier::fit(&dense(&data.features)?, &labels(data), parameters).map_err(refused)?;
    store(Tree(model))
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct RegressionTree(DecisionTreeRegressor<f64, f64, Table, Numbers>);

impl Predict for RegressionTree {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.0.predict(&dense(rows)?).map(Prediction::Numbers).map_err(broken)
    }
}

fn fit_regression_tree(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = DecisionTreeRegressorParameters {
        max_depth: depth(settings),
        min_samples_leaf: settings.size("samples_leaf_min"),
        min_samples_split: settings.size("samples_split_min"),
        seed: Some(settings.whole("seed")),
    };
    let numbers = data.numbers().to_vec();
    store(RegressionTree(DecisionTreeRegressor::fit(&dense(&data.features)?, &numbers, parameters).map_err(refused)?))
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Forest(RandomForestClassifier<f64, u32, Table, Labels>);

impl Predict for Forest {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        Ok(classes(self.0.predict(&dense(rows)?).map_err(broken)?, None))
    }
}

fn fit_forest(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = RandomForestClassifierParameters {
        criterion: criterion(settings),
        max_depth: depth(settings),
        min_samples_leaf: settings.size("samples_leaf_min"),
        min_samples_split: settings.size("samples_split_min"),
        n_trees: settings.whole("trees") as u16,
        m: columns(data, settings),
        keep_samples: false,
        seed: settings.whole("seed"),
    };
    store(Forest(RandomForestClassifier::fit(&dense(&data.features)?, &labels(data), parameters).map_err(refused)?))
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct RegressionForest(RandomForestRegressor<f64, f64, Table, Numbers>);

impl Predict for RegressionForest {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.0.predict(&dense(rows)?).map(Prediction::Numbers).map_err(broken)
    }
}

fn fit_regression_forest(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = RandomForestRegressorParameters {
        max_depth: depth(settings),
        min_samples_leaf: settings.size("samples_leaf_min"),
        min_samples_split: settings.size("samples_split_min"),
        n_trees: settings.size("trees"),
        m: columns(data, settings),
        keep_samples: false,
        seed: settings.whole("seed"),
    };
    let numbers = data.numbers().to_vec();
    store(RegressionForest(RandomForestRegressor::fit(&dense(&data.features)?, &numbers, parameters).map_err(refused)?))
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct ExtraTrees(ExtraTreesRegressor<f64, f64, Table, Numbers>);

impl Predict for ExtraTrees {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.0.predict(&dense(rows)?).map(Prediction::Numbers).map_err(broken)
    }
}

fn fit_extra_trees(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = ExtraTreesRegressorParameters {
        max_depth: depth(settings),
        min_samples_leaf: settings.size("samples_leaf_min"),
        min_samples_split: settings.size("samples_split_min"),
        n_trees: settings.size("trees"),
        m: columns(data, settings),
        keep_samples: false,
        seed: settings.whole("seed"),
    };
    let numbers = data.numbers().to_vec();
    store(ExtraTrees(ExtraTreesRegressor::fit(&dense(&data.features)?, &numbers, parameters).map_err(refused)?))
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Boosting(XGRegressor<f64, f64, Table, Numbers>);

impl Predict for Boosting {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.0.predict(&dense(rows)?).map(Prediction::Numbers).map_err(broken)
    }
}

fn fit_boosting(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = XGRegressorParameters::default()
        .with_n_estimators(settings.size("trees"))
        .with_max_depth(settings.whole("depth_max") as u16)
        .with_learning_rate(settings.number("learning_rate"))
        .with_lambda(settings.number("lambda"))
        .with_gamma(settings.number("gamma"))
        .with_subsample(settings.number("subsample"))
        .with_seed(settings.whole("seed"));
    let numbers = data.numbers().to_vec();
    store(Boosting(XGRegressor::fit(&dense(&data.features)?, &numbers, parameters).map_err(refused)?))
}

fn criterion(settings: &Settings) -> SplitCriterion {
    match settings.choice("criterion") {
        "entropy" => SplitCriterion::Entropy,
        _ => SplitCriterion::Gini,
    }
}

fn depth(settings: &Settings) -> Option<u16> {
    Some(settings.whole("depth_max") as u16)
}

fn columns(data: &DataSet, settings: &Settings) -> Option<usize> {
    Some(settings.size("columns_a_split")).filter(|count| *count > 0).map(|count| count.min(data.features.columns))
}
