//! Joining two states that went on from the same one apart from each other, such as two isolates': the result is the
//! state that one would have that heard all events.

use crate::error::AnalyticsError;
use crate::event::DecisionId;
use crate::experiment::{Arm, Experiment};
use crate::ledger::Entry;
use std::collections::BTreeSet;

/// Joins `left` and `right`, which both stem from `base`. Refused where either went on for longer than the grace period:
/// it may have let go of decisions that the other has counted too.
pub fn merge(base: &Experiment, left: &Experiment, right: &Experiment) -> Result<Experiment, AnalyticsError> {
    check_lineage(base, left)?;
    check_lineage(base, right)?;
    let mut joined = left.clone();
    joined.cache.forget_all();
    joined.newest_ms = left.newest_ms.max(right.newest_ms);
    join_arms(&mut joined, right)?;
    let newest_bucket = joined.bucket(joined.newest_ms);
    joined.namespaces.values_mut().flatten().for_each(|tally| tally.forget(newest_bucket));
    add_counts(&mut joined, right, 1)?;
    add_counts(&mut joined, base, -1)?;
    joined.observations.join(&right.observations);
    join_ledgers(&mut joined, base, left, right)?;
    joined.traffic.drop_zeros();
    joined.sweep();
    Ok(joined)
}

fn check_lineage(base: &Experiment, side: &Experiment) -> Result<(), AnalyticsError> {
    let refused = |what| Err(AnalyticsError::MergeRefused(what));
    if base.definition != side.definition {
        return refused("the definitions differ");
    }
    if side.newest_ms < base.newest_ms || !base.namespaces.keys().all(|name| side.namespaces.contains_key(name)) {
        return refused("a side is older than the base");
    }
    if side.newest_ms - base.newest_ms > base.definition.grace_ms && base.newest_ms > 0 {
        return refused("a side went on for longer than the grace period");
    }
    Ok(())
}

fn join_arms(joined: &mut Experiment, right: &Experiment) -> Result<(), AnalyticsError> {
    for arm in &right.arms {
        let position = joined.make_arm(&arm.name)?;
        if Arm::succeeds(arm, &joined.arms[position]) {
            joined.arms[position] = arm.clone();
        }
    }
    right.namespaces.keys().try_for_each(|name| joined.make_namespace(name))
}

/// Adds a side's counts `times` times.
fn add_counts(joined: &mut Experiment, side: &Experiment, times: i64) -> Result<(), AnalyticsError> {
    let newest_bucket = joined.bucket(joined.newest_ms);
    for (name, tallies) in &side.namespaces {
        for (arm, tally) in side.arms.iter().zip(tallies) {
            let position = joined.make_arm(&arm.name)?;
            if let Some(place) = joined.namespaces.get_mut(name).and_then(|tallies| tallies.get_mut(position)) {
                place.add_tally(tally, newest_bucket, times);
            }
        }
    }
    joined.traffic.add_traffic(&side.traffic, times);
    Ok(())
}

/// Puts every decision's entry together, and the counts right where both sides have counted the same one.
fn join_ledgers(
    joined: &mut Experiment,
    base: &Experiment,
    left: &Experiment,
    right: &Experiment,
) -> Result<(), AnalyticsError> {
    let ids: BTreeSet<DecisionId> =
        left.ledger.entries().keys().chain(right.ledger.entries().keys()).copied().collect();
    for id in ids {
        let sides = [left.ledger.get(id), right.ledger.get(id)];
        let known = base.ledger.get(id);
        let mut entry = match sides {
            [Some(left), Some(right)] => left.join(right).ok_or(AnalyticsError::DecisionConflict)?,
            [Some(one), None] | [None, Some(one)] => one.clone(),
            [None, None] => continue,
        };
        // A side that let go of an entry of the base has counted it as the base has, or later: see `check_lineage`.
        let counted = [(sides[0].or(known), -1), (sides[1].or(known), -1), (known, 1)];
        for (side, times) in counted {
            if let Some(side) = side {
                count(joined, id, side, times);
            }
        }
        entry.settled = entry.is_due(&joined.definition, joined.newest_ms);
        count(joined, id, &entry, 1);
        joined.ledger.put(id, entry);
    }
    Ok(())
}

/// Adds what an entry has in its side's counts `times` times.
fn count(joined: &mut Experiment, id: DecisionId, entry: &Entry, times: i64) {
    if let Some(decision) = &entry.decision {
        joined.count_decision(decision, times);
    }
    if entry.settled {
        let settled = entry.settle(&joined.definition);
        joined.count_settled(id, entry, settled, times);
    }
}
