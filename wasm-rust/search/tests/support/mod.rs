//! Searches and logs for tests. All chance is seeded.
#![allow(dead_code, reason = "each test file uses some of these")]

use search::{Algorithm, Cost, Distribution, Event, Options, Outcome, Random, Search, Strategy, Trial};

pub const ALGORITHMS: [Algorithm; 7] = [
    Algorithm::AbmctsA,
    Algorithm::AbmctsM,
    Algorithm::Mcts,
    Algorithm::TreeOfThoughts,
    Algorithm::BestFirst,
    Algorithm::RepeatedSampling,
    Algorithm::SequentialRefinement,
];

pub const STRATEGIES: [Strategy; 4] = [Strategy::Bandit, Strategy::Ucb, Strategy::Stack, Strategy::AlgorithmTwo];

/// Every algorithm with every strategy and distribution that makes a difference.
pub fn all_options(arms: u32, seed: u64) -> Vec<Options> {
    let mut all = Vec::new();
    for algorithm in ALGORITHMS {
        let strategies = match algorithm {
            Algorithm::AbmctsA | Algorithm::AbmctsM => &STRATEGIES[..],
            _ => &STRATEGIES[..2],
        };
        for &strategy in strategies {
            all.push(Options { strategy, ..Options::new(algorithm, arms, seed) });
        }
    }
    for strategy in STRATEGIES {
        let distribution = Distribution::Beta;
        all.push(Options { strategy, distribution, ..Options::new(Algorithm::AbmctsA, arms, seed) });
    }
    all
}

/// A score that depends on the trial alone.
pub fn score_of(trial: &Trial, seed: u64) -> f64 {
    Random::from_seed(seed ^ u64::from(trial.id) << 20).uniform()
}

/// Asks for one trial at a time and tells its score.
pub fn run(options: Options, trials: u32, score: impl Fn(&Trial) -> f64) -> Search {
    let mut search = Search::new(options).expect("valid options");
    for now in 0..u64::from(trials) {
        for trial in search.ask(1, now).expect("asked") {
            search.tell(trial.id, score(&trial), Cost::default(), now).expect("told");
        }
    }
    search
}

/// A long log of random events that a search accepts: batches, scores in any order and late, failures, expiries and
/// arms that come and go.
pub fn random_log(options: &Options, events: u32, seed: u64) -> Vec<Event> {
    let mut random = Random::from_seed(seed);
    let mut search = Search::new(options.clone()).expect("valid options");
    let (mut log, mut asked, mut now) = (Vec::new(), Vec::new(), 1_700_000_000_000);
    let mut arms = options.arms;
    while log.len() < events as usize {
        now += random.bits() % 50;
        let event = random_event(&mut random, &asked, arms, now);
        match search.apply(&event) {
            Ok(Outcome::Asked(trials)) => asked.extend(trials.iter().map(|trial| trial.id)),
            Ok(Outcome::ArmAdded(_)) => arms += 1,
            Ok(_) => {}
            Err(_) => continue,
        }
        log.push(event);
    }
    log
}

fn random_event(random: &mut Random, asked: &[u32], arms: u32, now: u64) -> Event {
    let choice = random.bits() % 100;
    let cost = Cost { tokens: random.bits() % 1000, money_micros: random.bits() % 100, time_ms: random.bits() % 5000 };
    let trial = match asked.len() {
        0 => 0,
        count => asked[count - 1 - (random.bits() % count.min(12) as u64) as usize],
    };
    match choice {
        0..45 => Event::Ask { count: 1 + (random.bits() % 4) as u32, now },
        45..92 => Event::Tell { trial, score: coarse(random), cost, now },
        92..96 => Event::Fail { trial, cost, now },
        96..98 => Event::Expire { now },
        98 => Event::AddArm { prior_mean: random.bits().is_multiple_of(2).then(|| random.uniform()) },
        _ => Event::RemoveArm { arm: (random.bits() % u64::from(arms)) as u32 },
    }
}

/// Half of the scores have two digits, so that some are equal.
fn coarse(random: &mut Random) -> f64 {
    let score = random.uniform();
    if random.bits().is_multiple_of(2) { score } else { (score * 10.0).round() / 10.0 }
}

pub fn replay(options: &Options, log: &[Event]) -> Search {
    let mut search = Search::new(options.clone()).expect("valid options");
    for event in log {
        search.apply(event).expect("the log was accepted before");
    }
    search
}
