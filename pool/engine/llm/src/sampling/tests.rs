use super::*;

fn settings(change: impl FnOnce(&mut SamplingSettings)) -> Arc<SamplingSettings> {
    let mut settings = SamplingSettings::new(None, 64, 0).expect("settings");
    change(&mut settings);
    Arc::new(settings)
}

fn logits(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, 99);
    (0..64).map(|_| random.unit() as f32 * 6.0 - 3.0).collect()
}

fn tokens(settings: &Arc<SamplingSettings>, index: u32, count: u64) -> Vec<u32> {
    let mut sampler = Sampler::new(Arc::clone(settings), index, &[]);
    (0..count).map(|step| sampler.choose(&mut logits(step), None).expect("a token")).collect()
}

#[test]
fn temperature_zero_takes_the_likeliest() {
    let greedy = settings(|settings| settings.temperature = 0.0);
    let chosen = tokens(&greedy, 0, 50);
    let expected: Vec<u32> = (0..50).map(|step| argmax(&logits(step)).expect("a token")).collect();
    assert_eq!(chosen, expected);
}

#[test]
fn a_seed_gives_the_same_tokens_and_choices_differ() {
    let seeded = settings(|settings| settings.seed = 42);
    assert_eq!(tokens(&seeded, 0, 40), tokens(&seeded, 0, 40));
    assert_ne!(tokens(&seeded, 0, 40), tokens(&seeded, 1, 40));
    assert_ne!(tokens(&seeded, 0, 40), tokens(&settings(|settings| settings.seed = 43), 0, 40));
}

#[test]
fn a_token_without_its_bit_never_comes() {
    let mask = [0x0000_00F0_u32, 0];
    for temperature in [0.0, 2.0] {
        let mut sampler = Sampler::new(settings(|settings| settings.temperature = temperature), 0, &[]);
        for step in 0..200 {
            let token = sampler.choose(&mut logits(step), Some(&mask)).expect("a token");
            assert!((4..8).contains(&token), "{token}");
        }
    }
    let fault = Sampler::new(settings(|_| {}), 0, &[]).choose(&mut logits(0), Some(&[0, 0])).expect_err("nothing");
    assert_eq!(fault.reason, Reason::Internal);
}

#[test]
fn penalties_change_logits_as_defined() {
    let settings = settings(|settings| {
        settings.temperature = 0.0;
        settings.presence_penalty = 0.5;
        settings.frequency_penalty = 0.25;
        settings.repetition_penalty = 2.0;
    });
    let mut sampler = Sampler::new(settings, 0, &[1, 2]);
    sampler.counts = [(2, 3), (3, 1)].into_iter().collect();
    let mut logits = vec![4.0_f32; 64];
    logits[1] = -4.0;
    sampler.penalise(&mut logits);
    // Of the prompt only; of both, three times; generated only, once; of neither.
    assert_eq!(logits[..5], [4.0, -8.0, 2.0 - 0.5 - 0.75, 2.0 - 0.5 - 0.25, 4.0]);
}

#[test]
fn a_bias_lets_a_token_win_or_lose() {
    let biased = |bias| {
        settings(|settings| {
            settings.temperature = 0.0;
            settings.logit_bias = vec![bias];
        })
    };
    assert_eq!(tokens(&biased((9, 100.0)), 0, 20), [9; 20]);
    let best = argmax(&logits(0)).expect("a token");
    assert_ne!(tokens(&biased((best, -100.0)), 0, 1)[0], best);
}

#[test]
fn top_k_of_one_is_greedy_at_any_temperature() {
    let one = settings(|settings| {
        settings.top_k = 1;
        settings.temperature = 2.0;
    });
    assert_eq!(tokens(&one, 0, 30), tokens(&settings(|settings| settings.temperature = 0.0), 0, 30));
}

/// Prints what a choice over a vocabulary of 49,152 costs; the bound is loose because machines are shared.
#[test]
fn a_choice_costs_little_beside_a_step() {
    const SIZE: usize = 49_152;
    let mut random = Random::new(1, 0);
    let peaked: Vec<f32> = (0..SIZE).map(|_| (random.unit().ln() * -2.0) as f32).collect();
    let flat: Vec<f32> = (0..SIZE).map(|_| random.unit() as f32).collect();
    type Set = fn(&mut SamplingSettings);
    let kinds: [(&str, Set); 5] = [
        ("greedy", |settings| settings.temperature = 0.0),
        ("temperature 1", |_| {}),
        ("top-p 0.9", |settings| settings.top_p = 0.9),
        ("top-k 40, top-p 0.9", |settings| (settings.top_k, settings.top_p) = (40, 0.9)),
        ("min-p 0.05", |settings| settings.min_p = 0.05),
    ];
    for (shape, logits) in [("peaked", &peaked), ("flat", &flat)] {
        for (name, change) in kinds {
            let mut sampler = Sampler::new(settings(change), 0, &[]);
            let mut times: Vec<f64> = (0..50)
                .map(|_| {
                    let mut row = logits.clone();
                    let begin = std::time::Instant::now();
                    sampler.choose(&mut row, None).expect("a token");
                    begin.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("{shape}, {name}: {:.0} µs", times[25]);
            assert!(times[25] < 10_000.0, "{shape}, {name}");
        }
    }
}
