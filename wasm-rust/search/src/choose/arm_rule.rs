//! Which arm makes a new child, where that is decided after the place: by all the arm's scores in the whole tree.

use super::{Memory, View, greatest};
use crate::arms::Arm;
use crate::mixed::{Groups, MixedModel};
use crate::options::{CostMeasure, Strategy};
use crate::random::Random;
use crate::tree::ROOT;

/// Scores drawn of each arm to estimate what it may gain.
const GAIN_DRAWS: u32 = 16;
/// The key of the model over arms in the cache of models: no node has this number.
const ARMS_MODEL: (u32, u32) = (u32::MAX, u32::MAX);

/// By the family of AB-MCTS-A.
pub(super) fn choose(view: View, random: &mut Random) -> u32 {
    if let Some(arm) = without_draws(view) {
        return arm;
    }
    let Some(measure) = view.options.value_for else {
        return best_by(view, |arm| view.posterior.with_prior_mean(arm.prior_mean).draw_mean(&arm.statistics, random));
    };
    best_value(view, measure, |arm| view.posterior.with_prior_mean(arm.prior_mean).draw_score(&arm.statistics, random))
}

/// By the mixed model over arms.
pub(super) fn choose_mixed(view: View, memory: &mut Memory, random: &mut Random) -> u32 {
    if let Some(arm) = without_draws(view) {
        return arm;
    }
    let version = view.tree.node(ROOT).below.count;
    let model = memory.models.get(ARMS_MODEL, version, || {
        let mut groups = Groups::default();
        view.arms.all().iter().for_each(|arm| groups.add(&arm.statistics));
        MixedModel::solve(&view.options.mixed, &groups)
    });
    let mut draw = |arm: &Arm| draw_mixed(view, model, arm, random);
    match view.options.value_for {
        None => best_by(view, draw),
        Some(measure) => best_value(view, measure, &mut draw),
    }
}

/// A score of an arm; one that was never seen, and has a mean of its own to start with, is moved there.
fn draw_mixed(view: View, model: &MixedModel, arm: &Arm, random: &mut Random) -> f64 {
    let share = view.options.pending_share;
    if arm.statistics.count > 0 {
        return model.draw_known(&arm.statistics, share, random);
    }
    let moved = arm.prior_mean.map_or(0.0, |mean| mean - view.options.mixed.mean);
    model.draw_new(arm.statistics.pending, share, random) + moved
}

/// The one arm that there is, or the one that UCB names.
fn without_draws(view: View) -> Option<u32> {
    if view.arms.active_count() == 1 {
        return view.arms.active().next().map(|(arm, _)| arm);
    }
    (view.options.strategy == Strategy::Ucb).then(|| by_bound(view))
}

/// UCB1. Trials on their way count as tried, so that a batch does not try one arm alone.
fn by_bound(view: View) -> u32 {
    let tries = |arm: &Arm| f64::from(arm.statistics.count + arm.statistics.pending);
    let all: f64 = view.arms.active().map(|(_, arm)| tries(arm)).sum();
    let logarithm = crate::mathematics::ln(all.max(1.0));
    best_by(view, |arm| match tries(arm) {
        0.0 => f64::INFINITY,
        tries => arm.statistics.mean() + view.options.exploration * (logarithm / tries).sqrt(),
    })
}

fn best_by(view: View, mut value: impl FnMut(&Arm) -> f64) -> u32 {
    let best = greatest(view.arms.active().map(|(_, arm)| value(arm)));
    best.and_then(|index| view.arms.active().nth(index)).map_or(0, |(arm, _)| arm)
}

/// The arm whose drawn scores gain most over the best so far, for what it costs. Where no draw gains anything, the one
/// whose score is greatest for its cost.
fn best_value(view: View, measure: CostMeasure, mut draw: impl FnMut(&Arm) -> f64) -> u32 {
    let typical = typical_cost(view, measure);
    let cost = |arm: &Arm| mean_cost(arm, measure, typical);
    let mut gains = false;
    let best = best_by(view, |arm| {
        let gain: f64 = (0..GAIN_DRAWS).map(|_| (draw(arm) - view.best_score).max(0.0)).sum();
        gains |= gain > 0.0;
        gain / cost(arm)
    });
    if gains { best } else { best_by(view, |arm| draw(arm).max(0.0) / cost(arm)) }
}

/// An arm's mean cost, in which the typical one weighs as much as one answer.
fn mean_cost(arm: &Arm, measure: CostMeasure, typical: f64) -> f64 {
    (arm.spent.in_measure(measure) as f64 + typical) / (f64::from(arm.statistics.count) + 1.0)
}

/// The mean cost of all answers; 1 where nothing has cost anything.
fn typical_cost(view: View, measure: CostMeasure) -> f64 {
    let count: f64 = view.arms.all().iter().map(|arm| f64::from(arm.statistics.count)).sum();
    let spent: f64 = view.arms.all().iter().map(|arm| arm.spent.in_measure(measure) as f64).sum();
    if spent == 0.0 { 1.0 } else { spent / count.max(1.0) }
}
