//! A search's state as bytes or as JSON. Both say the same: the options, the random source, the arms, and of every trial
//! what happened to it. All sums are counted again when it is loaded, so a snapshot cannot contradict itself.
//!
//! Bytes, all whole numbers as LEB128 unless said otherwise:
//!
//! | what | how |
//! |---|---|
//! | `TLSR` | 4 bytes |
//! | version | 2 bytes, little-endian |
//! | options | length, then JSON |
//! | random source | four words of 8 bytes, little-endian |
//! | arms | count; of each a byte (1 active, 2 with a prior mean), then the mean as 8 bytes where there is one |
//! | frontier | count, then the nodes |
//! | trials | count; of each: its number less its parent's; arm; status; asked at, less the trial's before, zigzag; deadline less asked at, zigzag, plus 1, or 0 for none; unless open, ended at less asked at, zigzag; if complete, the score as 8 bytes; unless open or expired, tokens, money, time |
//! | checksum | FNV-1a of all before, 8 bytes, little-endian |

use serde::{Deserialize, Serialize};

use crate::arms::{Arms, Cost};
use crate::choose::Memory;
use crate::error::SearchError;
use crate::options::{ARMS_MAX, INTEGER_MAX, NODES_MAX, Options};
use crate::random::Random;
use crate::search::{Search, check_cost, check_time};
use crate::tree::{ROOT, Status, Tree};

/// The version that is written. All versions up to it are read.
pub const SNAPSHOT_VERSION: u16 = 1;

const MAGIC: &[u8; 4] = b"TLSR";
const CHECKSUM_BYTES: usize = 8;
const ACTIVE: u8 = 1;
const WITH_PRIOR_MEAN: u8 = 2;
/// The least bytes of a trial, by which a count that is too great is seen before memory is taken for it.
const TRIAL_BYTES_LEAST: usize = 5;

/// All that is saved.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    version: u16,
    options: Options,
    /// In hexadecimal: JSON's numbers do not hold 64 bits everywhere.
    random: [String; 4],
    arms: Vec<ArmRecord>,
    frontier: Vec<u32>,
    /// In the order of asking; the first has number 1.
    trials: Vec<TrialRecord>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArmRecord {
    active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prior_mean: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TrialRecord {
    parent: u32,
    arm: u32,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(default)]
    cost: Cost,
    asked_at: u64,
    #[serde(default)]
    ended_at: u64,
    #[serde(default)]
    deadline: u64,
}

impl Search {
    /// The state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        encode(&record(self))
    }

    /// A search from its bytes. Any bytes are safe to give.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SearchError> {
        restore(decode(bytes)?)
    }

    /// The state as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&record(self)).unwrap_or_default()
    }

    /// A search from its JSON. Any text is safe to give.
    pub fn from_json(text: &str) -> Result<Self, SearchError> {
        let record: Record = serde_json::from_str(text).map_err(|error| corrupt(&error.to_string()))?;
        restore(record)
    }

    /// A hash of the whole state: two searches with the same one go on alike.
    pub fn fingerprint(&self) -> u64 {
        checksum(&self.snapshot())
    }
}

fn corrupt(reason: &str) -> SearchError {
    SearchError::SnapshotCorrupt(reason.to_owned())
}

fn record(search: &Search) -> Record {
    let trial = |node: &crate::tree::Node| TrialRecord {
        parent: node.parent,
        arm: u32::from(node.arm),
        status: node.status,
        score: node.is_complete().then_some(node.score),
        cost: node.cost,
        asked_at: node.asked_at,
        ended_at: node.ended_at,
        deadline: node.deadline,
    };
    let arms = search.arms.all().iter();
    Record {
        version: SNAPSHOT_VERSION,
        options: search.options.clone(),
        random: search.random.words().map(|word| format!("{word:016x}")),
        arms: arms.map(|arm| ArmRecord { active: arm.active, prior_mean: arm.prior_mean }).collect(),
        frontier: search.memory.frontier().to_vec(),
        trials: search.tree.trials().map(|(_, node)| trial(node)).collect(),
    }
}

fn restore(record: Record) -> Result<Search, SearchError> {
    if record.version != SNAPSHOT_VERSION {
        return Err(SearchError::SnapshotVersion(u32::from(record.version)));
    }
    record.options.validate()?;
    let random = restore_random(&record.random)?;
    let mut arms = restore_arms(&record)?;
    let tree = restore_tree(&record.trials, &mut arms)?;
    if record.frontier.iter().any(|&node| tree.find(node).is_none_or(|node| !node.is_complete())) {
        return Err(corrupt("the frontier names what is no answer"));
    }
    let memory = Memory::restore(&record.options, &tree, record.frontier);
    Ok(Search::from_parts(record.options, random, arms, tree, memory))
}

fn restore_random(words: &[String; 4]) -> Result<Random, SearchError> {
    let mut found = [0; 4];
    for (word, text) in found.iter_mut().zip(words) {
        *word = u64::from_str_radix(text, 16).map_err(|_| corrupt("the random source is not in hexadecimal"))?;
    }
    Random::from_words(found).ok_or_else(|| corrupt("the random source is all zero"))
}

fn restore_arms(record: &Record) -> Result<Arms, SearchError> {
    if record.arms.is_empty() || record.arms.len() > ARMS_MAX {
        return Err(corrupt("the number of arms is out of its range"));
    }
    let mut arms = Arms::default();
    for arm in &record.arms {
        let number = arms.add(arm.prior_mean)?;
        if !arm.active {
            arms.remove(number)?;
        }
    }
    Ok(arms)
}

fn restore_tree(trials: &[TrialRecord], arms: &mut Arms) -> Result<Tree, SearchError> {
    if trials.len() >= NODES_MAX {
        return Err(SearchError::TreeFull);
    }
    let mut tree = Tree::default();
    for trial in trials {
        check_trial(trial, &tree, arms)?;
        let number = tree.append(trial.parent, trial.arm as u16);
        let node = tree.node_mut(number);
        node.status = trial.status;
        node.cost = trial.cost;
        (node.asked_at, node.ended_at, node.deadline) = (trial.asked_at, trial.ended_at, trial.deadline);
        if let Some(score) = trial.score {
            node.score = score;
            arms.score(trial.arm, score);
        }
        if trial.status == Status::Open {
            arms.open(trial.arm);
        }
        arms.spend(trial.arm, &trial.cost);
    }
    tree.recount();
    Ok(tree)
}

fn check_trial(trial: &TrialRecord, tree: &Tree, arms: &Arms) -> Result<(), SearchError> {
    let parent = tree.find(trial.parent);
    if parent.is_none_or(|parent| trial.parent != ROOT && !parent.is_complete()) {
        return Err(corrupt("a trial refines what is no answer before it"));
    }
    if trial.arm as usize >= arms.all().len() {
        return Err(SearchError::ArmUnknown(trial.arm));
    }
    let scored = trial.score.is_some_and(|score| (0.0..=1.0).contains(&score) && score.is_sign_positive());
    if scored != (trial.status == Status::Complete) || scored != trial.score.is_some() {
        return Err(corrupt("a trial's score does not fit its status"));
    }
    let unspent = matches!(trial.status, Status::Open | Status::Expired);
    if unspent && trial.cost != Cost::default() {
        return Err(corrupt("a trial without an answer has a cost"));
    }
    if trial.status == Status::Open && trial.ended_at != 0 {
        return Err(corrupt("an open trial has ended"));
    }
    check_cost(&trial.cost)?;
    [trial.asked_at, trial.ended_at].into_iter().try_for_each(check_time)?;
    if trial.deadline > 2 * INTEGER_MAX { Err(corrupt("a deadline is out of its range")) } else { Ok(()) }
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256 + 32 * record.trials.len());
    bytes.extend(MAGIC);
    bytes.extend(record.version.to_le_bytes());
    let options = serde_json::to_vec(&record.options).unwrap_or_default();
    put(&mut bytes, options.len() as u64);
    bytes.extend(options);
    for word in &record.random {
        bytes.extend(u64::from_str_radix(word, 16).unwrap_or_default().to_le_bytes());
    }
    put(&mut bytes, record.arms.len() as u64);
    for arm in &record.arms {
        bytes.push(u8::from(arm.active) * ACTIVE + u8::from(arm.prior_mean.is_some()) * WITH_PRIOR_MEAN);
        bytes.extend(arm.prior_mean.iter().flat_map(|mean| mean.to_le_bytes()));
    }
    put(&mut bytes, record.frontier.len() as u64);
    record.frontier.iter().for_each(|&node| put(&mut bytes, u64::from(node)));
    put(&mut bytes, record.trials.len() as u64);
    let mut asked_before = 0;
    for (index, trial) in record.trials.iter().enumerate() {
        encode_trial(&mut bytes, index as u32 + 1, trial, asked_before);
        asked_before = trial.asked_at;
    }
    let sum = checksum(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

fn encode_trial(bytes: &mut Vec<u8>, number: u32, trial: &TrialRecord, asked_before: u64) {
    put(bytes, u64::from(number - trial.parent));
    put(bytes, u64::from(trial.arm));
    bytes.push(trial.status as u8);
    put(bytes, zigzag(trial.asked_at, asked_before));
    put(bytes, if trial.deadline == 0 { 0 } else { zigzag(trial.deadline, trial.asked_at) + 1 });
    if trial.status != Status::Open {
        put(bytes, zigzag(trial.ended_at, trial.asked_at));
    }
    bytes.extend(trial.score.iter().flat_map(|score| score.to_le_bytes()));
    if matches!(trial.status, Status::Complete | Status::Failed) {
        let cost = &trial.cost;
        [cost.tokens, cost.money_micros, cost.time_ms].into_iter().for_each(|amount| put(bytes, amount));
    }
}

fn decode(bytes: &[u8]) -> Result<Record, SearchError> {
    let cut = || corrupt("it is cut short");
    let body = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or_else(cut)?;
    let (body, sum) = bytes.split_at(body);
    if !body.starts_with(MAGIC) {
        return Err(corrupt("it is not a snapshot of a search"));
    }
    if sum != checksum(body).to_le_bytes() {
        return Err(corrupt("its checksum is wrong"));
    }
    let mut reader = Reader { rest: &body[MAGIC.len()..] };
    let version = u16::from_le_bytes(reader.array().ok_or_else(cut)?);
    if version != SNAPSHOT_VERSION {
        return Err(SearchError::SnapshotVersion(u32::from(version)));
    }
    let record = reader.record(version)?.ok_or_else(cut)?;
    if reader.rest.is_empty() { Ok(record) } else { Err(corrupt("it has more than its content")) }
}

/// Takes bytes from the front. What gives an `Option` gives none where they end too soon or are out of range.
struct Reader<'bytes> {
    rest: &'bytes [u8],
}

impl Reader<'_> {
    fn record(&mut self, version: u16) -> Result<Option<Record>, SearchError> {
        let Some(options) = self.number().and_then(|length| self.take(length as usize)) else { return Ok(None) };
        let options: Options = serde_json::from_slice(options).map_err(|error| corrupt(&error.to_string()))?;
        Ok(self.after_options(version, options))
    }

    fn after_options(&mut self, version: u16, options: Options) -> Option<Record> {
        let mut random: [String; 4] = Default::default();
        for word in &mut random {
            *word = format!("{:016x}", u64::from_le_bytes(self.array()?));
        }
        let arms = self.list(1, Self::arm)?;
        let frontier = self.list(1, Self::small)?;
        let (mut number, mut asked_before) = (0, 0);
        let trials = self.list(TRIAL_BYTES_LEAST, |reader| {
            number += 1;
            let trial = reader.trial(number, asked_before)?;
            asked_before = trial.asked_at;
            Some(trial)
        })?;
        Some(Record { version, options, random, arms, frontier, trials })
    }

    fn list<Item>(&mut self, bytes_least: usize, mut item: impl FnMut(&mut Self) -> Option<Item>) -> Option<Vec<Item>> {
        let count = self.number()? as usize;
        if count > self.rest.len() / bytes_least {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn arm(&mut self) -> Option<ArmRecord> {
        let [flags] = self.array()?;
        let prior_mean = match flags & WITH_PRIOR_MEAN {
            0 => None,
            _ => Some(f64::from_le_bytes(self.array()?)),
        };
        (flags <= ACTIVE + WITH_PRIOR_MEAN).then_some(ArmRecord { active: flags & ACTIVE != 0, prior_mean })
    }

    fn trial(&mut self, number: u32, asked_before: u64) -> Option<TrialRecord> {
        let parent = number.checked_sub(self.small()?)?;
        let arm = self.small()?;
        let [status] = self.array()?;
        let status =
            [Status::Open, Status::Complete, Status::Failed, Status::Expired].get(usize::from(status)).copied()?;
        let asked_at = self.near(asked_before)?;
        let deadline = match self.number()? {
            0 => 0,
            after => unzigzag(after - 1, asked_at)?,
        };
        let ended_at = if status == Status::Open { 0 } else { self.near(asked_at)? };
        let score = match status {
            Status::Complete => Some(f64::from_le_bytes(self.array()?)),
            _ => None,
        };
        let mut cost = Cost::default();
        if matches!(status, Status::Complete | Status::Failed) {
            cost = Cost { tokens: self.number()?, money_micros: self.number()?, time_ms: self.number()? };
        }
        Some(TrialRecord { parent, arm, status, score, cost, asked_at, ended_at, deadline })
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        self.take(COUNT)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn near(&mut self, base: u64) -> Option<u64> {
        let difference = self.number()?;
        unzigzag(difference, base)
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A difference of two times as a whole number that is small where it is near zero.
fn zigzag(value: u64, base: u64) -> u64 {
    let difference = value.wrapping_sub(base) as i64;
    ((difference << 1) ^ (difference >> 63)) as u64
}

fn unzigzag(zigzag: u64, base: u64) -> Option<u64> {
    let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    base.checked_add_signed(difference)
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
