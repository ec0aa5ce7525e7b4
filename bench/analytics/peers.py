"""The peers of `npm run bench:analytics`: mabwiser's policies and Optuna's TPE in the worlds of
`wasm-rust/analytics/examples/measure.rs`. Prints one JSON object.

    peers.py regret RUNS STEPS | optimiser RUNS TRIALS
"""

import json
import math
import statistics
import sys
import time

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
RARE = [0.1, 0.05, 0.05, 0.05, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01]
CLOSE = [0.9, 0.8]


def mix(value):
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def uniform(seed, key):
    """The first uniform number of `Keyed::new(seed, key)`."""
    low = mix((key & MASK) ^ mix(seed ^ GOLDEN))
    state = mix((key >> 64) ^ low)
    return (mix((state + GOLDEN) & MASK) >> 11) / (1 << 53)


def regret(runs, steps):
    from mabwiser.mab import MAB, LearningPolicy

    policies = {"mabwiser thompson": LearningPolicy.ThompsonSampling}
    rows = []
    for problem, means in (("rare", RARE), ("close", CLOSE)):
        for name, policy in policies.items():
            curves, times, feedback_times = [], [], []
            for run in range(runs):
                mab = MAB(arms=list(range(len(means))), learning_policy=policy(), seed=run)
                curve, lost = [], 0.0
                # mabwiser must be fitted before it predicts: one reward an arm, which counts as a step each.
                for step in range(1, steps + 1):
                    if step <= len(means):
                        arm = step - 1
                    else:
                        start = time.perf_counter_ns()
                        arm = mab.predict()
                        times.append(time.perf_counter_ns() - start)
                    reward = int(uniform(run, 1 << 64 | step) < means[arm])
                    start = time.perf_counter_ns()
                    mab.partial_fit([arm], [reward])
                    feedback_times.append(time.perf_counter_ns() - start)
                    lost += max(means) - means[arm]
                    if step % max(steps // 10, 1) == 0:
                        curve.append(lost)
                curves.append(curve)
            rows.append(
                {
                    "problem": problem,
                    "policy": name,
                    "curves": curves,
                    "decideNanoseconds": statistics.median(times),
                    "feedbackNanoseconds": statistics.median(feedback_times),
                }
            )
    return rows


def worth(model, temperature, top_p, max_tokens):
    def bump(value, centre, width):
        return (value - centre) ** 2 / width**2

    distance = (
        bump(temperature, [0.3, 0.7, 1.0, 0.2][model], 0.6)
        + bump(top_p, [0.9, 0.8, 0.5, 0.95][model], 0.4)
        + bump(math.log2(max_tokens / 64) / 6, [0.5, 0.7, 0.4, 0.6][model], 0.35)
    )
    return 0.2 + [0.45, 0.7, 0.6, 0.3][model] * math.exp(-0.5 * distance)


def yes_or_no(worth, seed, key):
    return int(uniform(seed, key) < worth)


def stars(worth, seed, key):
    """One to five stars as 0..=1, by a person whose taste deviates by a fifth of the scale."""
    noise = statistics.NormalDist().inv_cdf(uniform(seed, key) + 0.5 / (1 << 53))
    return round(4 * min(max(worth + 0.2 * noise, 0), 1)) / 4


def optimiser(runs, trials):
    return {"yesOrNo": optimise(runs, trials, yes_or_no), "stars": optimise(runs, trials, stars)}


def optimise(runs, trials, rate):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows, times = [], []
    for run in range(runs):
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=run))
        row = []
        for number in range(1, trials + 1):
            start = time.perf_counter_ns()
            trial = study.ask()
            point = (
                trial.suggest_categorical("model", [0, 1, 2, 3]),
                trial.suggest_float("temperature", 0.0, 2.0),
                trial.suggest_float("topP", 0.05, 1.0),
                trial.suggest_int("maxTokens", 64, 4096, log=True),
            )
            times.append(time.perf_counter_ns() - start)
            study.tell(trial, rate(worth(*point), run, 1 << 65 | number))
            if number in (50, trials):
                best = study.best_params
                row.append(0.9 - worth(best["model"], best["temperature"], best["topP"], best["maxTokens"]))
        rows.append(row)
    return {"simpleRegret": rows, "decideNanosecondsMean": sum(times) / len(times), "decideNanosecondsMedian": statistics.median(times)}


def main():
    runs, size = int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps({"regret": regret, "optimiser": optimiser}[sys.argv[1]](runs, size)))


main()
