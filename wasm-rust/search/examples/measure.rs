//! Times asks with their tells natively, for `bench/search`: `measure ALGORITHM ARMS SEED NODES SCORE…`, scores
//! being whole numbers of millionths. Prints the microseconds of each decision, one a line.

use std::time::Instant;

use search::{Cost, Options, Search};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [algorithm, arms, seed, nodes, scores @ ..] = &arguments[..] else { panic!("too few arguments") };
    let options = format!(r#"{{"algorithm":"{algorithm}","arms":{arms},"seed":{seed}}}"#);
    let mut search = Search::new(Options::from_json(&options).expect("options")).expect("a search");
    let nodes: usize = nodes.parse().expect("a number of nodes");
    for (index, score) in scores.iter().enumerate() {
        let score = score.parse::<f64>().expect("a score") / 1e6;
        let started = Instant::now();
        let trial = search.ask(1, 0).expect("asked")[0];
        search.tell(trial.id, score, Cost::default(), 0).expect("told");
        if index >= nodes {
            println!("{}", started.elapsed().as_secs_f64() * 1e6);
        }
    }
}
