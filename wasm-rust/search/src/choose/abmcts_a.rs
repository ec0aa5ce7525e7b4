//! AB-MCTS-A: at each node a draw of "make a new child" meets a draw of "go on below"; going on, the children's draws
//! meet. The first holds the scores of the node's children, the second those of everything deeper, a child's those of
//! its whole subtree.

use super::beliefs::Beliefs;
use super::{ArmHere, Choice, Memory, Move, View, arm_rule, arms_here, greatest};
use crate::options::Strategy;
use crate::posterior::{Posterior, Spread};
use crate::random::Random;
use crate::tree::ROOT;

/// The next trial.
pub(super) fn choose(view: View, memory: &mut Memory, random: &mut Random) -> Choice {
    let mut parent = ROOT;
    loop {
        match decide(view, &mut memory.beliefs, parent, random) {
            Move::Expand(arm) => return Choice { parent, arm },
            Move::Descend(child) => parent = child,
        }
    }
}

fn decide(view: View, beliefs: &mut Beliefs, node: u32, random: &mut Random) -> Move {
    match view.options.strategy {
        Strategy::Bandit | Strategy::Ucb => place_first(view, beliefs, node, random),
        Strategy::Stack => arm_first(view, beliefs, node, random),
        Strategy::AlgorithmTwo => arms_compete(view, beliefs, node, random),
    }
}

/// Widen or deepen over all arms together; the arm is chosen only when widening.
fn place_first(view: View, beliefs: &mut Beliefs, node: u32, random: &mut Random) -> Move {
    let here = view.tree.node(node);
    if here.children.count == 0 {
        return Move::Expand(arm_rule::choose(view, random));
    }
    let deeper = here.below.without(&here.children);
    let widen = view.posterior.draw_mean(&here.children, random);
    if widen >= view.posterior.draw_mean(&deeper, random) {
        return Move::Expand(arm_rule::choose(view, random));
    }
    match best_child(view, beliefs, node, None, random) {
        Some((child, _)) => Move::Descend(child),
        None => Move::Expand(arm_rule::choose(view, random)),
    }
}

/// The child with the greatest draw, among those made by one arm or among all.
fn best_child(
    view: View,
    beliefs: &mut Beliefs,
    node: u32,
    arm: Option<u32>,
    random: &mut Random,
) -> Option<(u32, f64)> {
    let is_beta = matches!(view.posterior, Posterior::Beta { .. });
    let mut best: Option<(u32, f64)> = None;
    for (child, state) in view.tree.complete_children(node) {
        if arm.is_some_and(|arm| u32::from(state.arm) != arm) {
            continue;
        }
        let greatest = best.map_or(f64::NEG_INFINITY, |(_, draw)| draw);
        let draw = match is_beta {
            true => Some(view.posterior.draw_mean(&state.subtree(), random)).filter(|&draw| draw > greatest),
            false => {
                let (Spread { mean, scale, freedom }, inverse) = beliefs.of(view.posterior, child, state);
                random.student_above(freedom, (greatest - mean) * inverse).map(|drawn| mean + scale * drawn)
            }
        };
        best = draw.map(|draw| (child, draw)).or(best);
    }
    best
}

/// The arms that a node can follow: the active ones, and removed ones that have children there.
fn followed(view: View, here: &[ArmHere]) -> Vec<u32> {
    let all = view.arms.all().iter().zip(here).enumerate();
    all.filter(|(_, (arm, here))| arm.active || here.children.count > 0).map(|(number, _)| number as u32).collect()
}

/// The arm by a draw of all its work at this node, then widen or deepen with it alone.
fn arm_first(view: View, beliefs: &mut Beliefs, node: u32, random: &mut Random) -> Move {
    let here = arms_here(view, node);
    let arms = followed(view, &here);
    let draws = arms.iter().map(|&arm| {
        let prior = view.arms.all()[arm as usize].prior_mean;
        view.posterior.with_prior_mean(prior).draw_mean(&here[arm as usize].subtrees, random)
    });
    let arm = greatest(draws).map_or(0, |index| arms[index]);
    match best_move(view, beliefs, node, (arm, &here[arm as usize]), random).0 {
        Some(child) => Move::Descend(child),
        None => Move::Expand(arm),
    }
}

/// Each arm's best move, of which the one with the greatest draw is made.
fn arms_compete(view: View, beliefs: &mut Beliefs, node: u32, random: &mut Random) -> Move {
    let here = arms_here(view, node);
    let arms = followed(view, &here);
    let moves: Vec<(Option<u32>, f64)> =
        arms.iter().map(|&arm| best_move(view, beliefs, node, (arm, &here[arm as usize]), random)).collect();
    let best = greatest(moves.iter().map(|&(_, draw)| draw)).unwrap_or(0);
    match moves[best].0 {
        Some(child) => Move::Descend(child),
        None => Move::Expand(arms[best]),
    }
}

/// One arm's best move at a node, with its draw: a child to go on from, or none to make a new one. A removed arm makes
/// no new one.
fn best_move(
    view: View,
    beliefs: &mut Beliefs,
    node: u32,
    (arm, here): (u32, &ArmHere),
    random: &mut Random,
) -> (Option<u32>, f64) {
    let state = &view.arms.all()[arm as usize];
    let prior = state.prior_mean.filter(|_| view.options.strategy == Strategy::AlgorithmTwo);
    let widen = view.posterior.with_prior_mean(prior).draw_mean(&here.children, random);
    if here.children.count == 0 {
        return (None, widen);
    }
    let deepen = view.posterior.draw_mean(&here.subtrees.without(&here.children), random);
    if state.active && widen >= deepen {
        return (None, widen);
    }
    match best_child(view, beliefs, node, Some(arm), random) {
        Some((child, draw)) => (Some(child), draw),
        None => (None, widen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Algorithm, Distribution, Options};
    use crate::posterior::Posterior;
    use crate::statistics::Statistics;

    const DRAWS: u32 = 200_000;
    const SEED: u64 = 5;
    /// Three standard deviations of a share over so many draws, and the half digit of the published value.
    const TOLERANCE: f64 = 0.004;

    fn of(scores: &[f64]) -> Statistics {
        let mut statistics = Statistics::default();
        scores.iter().for_each(|&score| statistics.add(score));
        statistics
    }

    fn posterior(distribution: Distribution) -> Posterior {
        Posterior::of(&Options { distribution, ..Options::new(Algorithm::AbmctsA, 1, SEED) })
    }

    /// How often each choice has the greatest draw; the first wins ties.
    fn shares(distribution: Distribution, choices: &[Statistics]) -> Vec<f64> {
        let (posterior, mut random) = (posterior(distribution), Random::from_seed(SEED));
        let mut wins = vec![0u32; choices.len()];
        for _ in 0..DRAWS {
            wins[greatest(choices.iter().map(|one| posterior.draw_mean(one, &mut random))).expect("a choice")] += 1;
        }
        wins.iter().map(|&count| f64::from(count) / f64::from(DRAWS)).collect()
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        for (one, other) in found.iter().zip(expected) {
            assert!((one - other).abs() <= TOLERANCE, "{found:?} is not {expected:?}; seed {SEED}");
        }
    }

    #[test]
    fn widening_has_the_published_chance() {
        let cases = [(of(&[0.8]), of(&[]), 0.703, 0.618), (of(&[0.5; 5]), of(&[0.9]), 0.469, 0.261)];
        for (widen, deepen, gaussian, beta) in cases {
            assert_near(&shares(Distribution::Gaussian, &[widen, deepen]), &[gaussian, 1.0 - gaussian]);
            assert_near(&shares(Distribution::Beta, &[widen, deepen]), &[beta, 1.0 - beta]);
        }
    }

    #[test]
    fn each_child_has_the_published_chance() {
        let children = [of(&[0.8, 0.8, 1.0]), of(&[0.0]), of(&[0.2, 0.3])];
        assert_near(&shares(Distribution::Gaussian, &children), &[0.898, 0.042, 0.061]);
        assert_near(&shares(Distribution::Beta, &children), &[0.864, 0.059, 0.077]);
    }
}
