//! Decision trees and random forests.

use crate::convert::{array, refused, with_classes};
use engine_core::{CallContext, EngineError};
use linfa::traits::{Fit, Predict as _};
use linfa_ensemble::EnsembleLearnerParams;
use linfa_trees::{DecisionTree, DecisionTreeParams, SplitQuality};
use ndarray::{Array1, Axis};
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use training::random::Random;
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

const CRITERION: Rule = Rule::choice("criterion", &["gini", "entropy"]);
const DEPTH: Rule = Rule::whole("depth_max", 32, 1, 64);
const LEAF: Rule = Rule::whole("samples_leaf_min", 1, 1, 1_000_000);
const SPLIT: Rule = Rule::whole("samples_split_min", 2, 2, 1_000_000);

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::new("decision-tree", Task::Classification, fit_tree, decode_stored::<Tree>)
            .with_rules([CRITERION, DEPTH, LEAF, SPLIT]),
        Algorithm::in_steps("random-forest", Task::Classification, fit_forest, decode_stored::<Forest>).with_rules([
            CRITERION,
            DEPTH,
            LEAF,
            SPLIT,
            Rule::whole("trees", 100, 1, 2_000),
            Rule::number("row_share", 0.7, 0.01, 1.0),
            Rule::number("column_share", 0.5, 0.01, 1.0),
        ]),
    ]
}

#[derive(Serialize, Deserialize)]
struct Tree {
    tree: DecisionTree<f64, usize>,
}

impl Predict for Tree {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let classes: Array1<usize> = self.tree.predict(&array(rows)?);
        Ok(Prediction::Classes { indices: classes.to_vec(), probabilities: None })
    }
}

fn fit_tree(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    store(Tree { tree: tree(settings).fit(&with_classes(data)?).map_err(refused)? })
}

/// The library's forest cannot be written; this holds the same trees. Each sees some of the columns.
#[derive(Serialize, Deserialize)]
struct Forest {
    class_count: usize,
    trees: Vec<DecisionTree<f64, usize>>,
    columns: Vec<Vec<usize>>,
}

impl Predict for Forest {
    /// Probabilities are shares of votes.
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let rows = array(rows)?;
        let share = 1.0 / self.trees.len().max(1) as f64;
        let mut votes = vec![0.0; rows.nrows() * self.class_count];
        for (tree, columns) in self.trees.iter().zip(&self.columns) {
            let classes: Array1<usize> = tree.predict(&rows.select(Axis(1), columns));
            classes.iter().enumerate().for_each(|(row, class)| votes[row * self.class_count + class] += share);
        }
        Ok(Prediction::from_probabilities(Matrix { columns: self.class_count, values: votes }))
    }
}

/// Tree by tree, so that a call that is over ends the fit after the tree at hand. Each has a seed of its own.
fn fit_forest(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    let rows = with_classes(data)?;
    let mut seeds = Random::new(settings.whole("seed"));
    let mut forest = Forest { class_count: data.labels().len(), trees: Vec::new(), columns: Vec::new() };
    for _ in 0..settings.size("trees") {
        call.check(Instant::now())?;
        let random = Xoshiro256Plus::seed_from_u64(seeds.bits());
        let one = EnsembleLearnerParams::new_fixed_rng(tree(settings), random)
            .ensemble_size(1)
            .bootstrap_proportion(settings.number("row_share"))
            .feature_proportion(settings.number("column_share"))
            .fit(&rows)
            .map_err(refused)?;
        forest.trees.extend(one.models);
        forest.columns.extend(one.model_features);
    }
    store(forest)
}

fn tree(settings: &Settings) -> DecisionTreeParams<f64, usize> {
    let quality = match settings.choice("criterion") {
        "entropy" => SplitQuality::Entropy,
        _ => SplitQuality::Gini,
    };
    DecisionTree::params()
        .split_quality(quality)
        .max_depth(Some(settings.size("depth_max")))
        .min_weight_leaf(settings.whole("samples_leaf_min") as f32)
        .min_weight_split(settings.whole("samples_split_min") as f32)
}
