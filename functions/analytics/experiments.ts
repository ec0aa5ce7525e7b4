/**
 * Experiments: which settings of a call are the best, learnt while the calls are served. Decisions are made in memory
 * and stored behind the answer; what is acknowledged otherwise (an experiment, an arm, feedback) is a committed row.
 * Free of HTTP.
 */
import { hex } from '../digest.ts';
import { ApiError } from '../errors.ts';
import type { Background, Clock, Log, Random, Sql } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { LiveInstance } from '../wasm/instance.ts';
import {
  type AnalyticsModule,
  AnalyticsRefused,
  type CoreArm,
  type CoreChoice,
  type CoreEvent,
  type DecideEvent,
  type OffPolicyTarget,
  type Settings,
} from './analytics-module.ts';
import { armsMax, type Definition, hasPrompt, settingsAt, toCoreDefinition } from './definition.ts';
import { EventQueue } from './event-queue.ts';
import { type LiveExperiment, LiveExperiments } from './live-experiments.ts';
import type { Measurement } from './measurement.ts';
import { measuredRewards, wholeReward, worstRewards } from './rewards.ts';
import {
  decisionSubject,
  ExperimentStore,
  type ListedExperiment,
  type StoredEvent,
  type StoredExperiment,
} from './store.ts';

/** Experiments that a tenant may have, those that ended among them. */
export const experimentsMax = 10_000;
/** Decisions that an off-policy estimate looks at, at most. */
export const loggedDecisionsMax = 20_000;
const experimentIdBytes = 6;
const decisionIdBytes = 10;

/** What the experiments need. */
export interface ExperimentPorts {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly module: () => Promise<LiveInstance<AnalyticsModule>>;
}

/** An experiment with its arms. */
export interface DescribedExperiment {
  readonly stored: StoredExperiment;
  readonly arms: readonly CoreArm[];
}

/** What is to be decided. */
export interface DecisionRequest {
  readonly task: string;
  readonly features: readonly number[];
  /** True to wait until the decision is stored. */
  readonly durable: boolean;
}

/** What was decided. */
export interface Decision {
  readonly id: string;
  readonly experiment: StoredExperiment;
  /** Null where the settings are a point of a continuous space. */
  readonly arm: string | null;
  readonly settings: Settings;
  readonly propensity: number;
  /** What the policy would have chosen, where shadow mode has another arm served. */
  readonly proposed: { readonly arm: string; readonly propensity: number } | null;
}

/** What became of feedback. */
export interface FeedbackResult {
  /** Rewards that are stored now. */
  readonly recorded: readonly string[];
  /** Rewards of which a value was there before, which goes on to count. */
  readonly known: readonly string[];
  /** When it was decided; null where the decision is not known here: not stored yet, or never made. */
  readonly decidedAtMs: number | null;
  /** Whether the reward's window was over. Its default has counted then, and this value does not. */
  readonly isLate: boolean;
}

/** The experiments of all tenants; one an isolate. */
export class Experiments {
  readonly #ports: ExperimentPorts;
  readonly #store: ExperimentStore;
  readonly #queue: EventQueue;
  readonly #live: LiveExperiments;

  constructor(ports: ExperimentPorts) {
    this.#ports = ports;
    this.#store = new ExperimentStore(ports.sql);
    this.#queue = new EventQueue({ ...ports, store: this.#store });
    this.#live = new LiveExperiments({ ...ports, store: this.#store, queue: this.#queue });
  }

  /** Makes an experiment. @throws ApiError invalid_request, experiment_exists, overloaded */
  async create(
    tenantId: string,
    definition: Omit<Definition, 'seed'> & { seed?: number | undefined },
    arms: readonly { readonly name: string; readonly settings: Settings }[],
  ): Promise<DescribedExperiment> {
    const { clock, random } = this.#ports;
    if ((await this.#store.count(tenantId)) >= experimentsMax) {
      throw new ApiError('overloaded', `There are ${experimentsMax} experiments already, which is the bound.`);
    }
    const seed = definition.seed ?? new DataView(random.bytes(4).buffer).getUint32(0);
    const stored: StoredExperiment = {
      ...{ tenantId, id: hex(random.bytes(experimentIdBytes)), name: definition.name, endedAtMs: null },
      ...{ definition: { ...definition, seed }, createdAtMs: clock.now() },
    };
    const events = arms.map(({ name, settings }) => armEvent(stored, name, settings, true, clock.now()));
    await this.#check(stored, events);
    if (!(await this.#store.create(stored, events))) {
      throw new ApiError('experiment_exists', `There is an experiment named "${stored.name}".`, { parameter: 'name' });
    }
    return this.describe(tenantId, stored.name);
  }

  /** The tenant's experiments, newest first. */
  list(tenantId: string): Promise<ListedExperiment[]> {
    return this.#store.list(tenantId);
  }

  /** The experiment as it is now. @throws ApiError experiment_not_found */
  async describe(tenantId: string, name: string): Promise<DescribedExperiment> {
    const live = await this.#fresh(tenantId, name);
    return { stored: live.stored, arms: await this.#live.use(live, ({ arms }) => arms) };
  }

  /** Adds an arm, changes its settings, or brings it back. @throws ApiError */
  async putArm(tenantId: string, name: string, arm: string, settings: Settings): Promise<DescribedExperiment> {
    const live = await this.#running(tenantId, name);
    if (!hasPrompt(live.stored.definition.prompts, settings)) {
      throw new ApiError('invalid_request', 'The prompt_version is not among the prompts.', { parameter: 'settings' });
    }
    const arms = await this.#live.use(live, (core) => core.arms);
    if (arms.length >= armsMax && !arms.some((other) => other.name === arm)) {
      throw new ApiError('overloaded', `There are ${armsMax} arms already, withdrawn ones among them.`);
    }
    return this.#storeArm(live, arm, settings, true);
  }

  /** Withdraws an arm: it is not chosen any more, and what it has shown stays. @throws ApiError */
  async withdrawArm(tenantId: string, name: string, arm: string): Promise<DescribedExperiment> {
    const live = await this.#running(tenantId, name);
    const arms = await this.#live.use(live, (core) => core.arms);
    const present = arms.find((other) => other.name === arm);
    if (present === undefined) throw new ApiError('experiment_not_found', `There is no arm named "${arm}".`);
    return this.#storeArm(live, arm, present.settings, false);
  }

  /** Ends an experiment: no more decisions; rewards of those that were made still count. @throws ApiError */
  async end(tenantId: string, name: string): Promise<DescribedExperiment> {
    const live = await this.#get(tenantId, { name });
    await this.#store.end(tenantId, live.stored.id);
    return this.describe(tenantId, name);
  }

  /** Chooses an arm, in memory where the experiment is held there. @throws ApiError */
  async decide(tenantId: string, name: string, request: DecisionRequest, background: Background): Promise<Decision> {
    const { clock, random } = this.#ports;
    this.#queue.checkRoom();
    const live = await this.#get(tenantId, { name });
    checkRunning(live);
    const id = live.stored.id + hex(random.bytes(decisionIdBytes));
    const made = await answering(() =>
      this.#live.use(live, (core) => {
        const choice = core.decide(id, clock.now(), request.task, request.features);
        live.unsaved += 1;
        const event = decisionEvent(live.stored, choice.event);
        // In the same turn: a snapshot must not hold what the queue does not know.
        this.#queue.add(event);
        return { event, decision: toDecision(live.stored, id, choice, core.arms) };
      }),
    );
    // Stored twice it is stored once, so the queue may do the same.
    if (request.durable) await this.#store.add(tenantId, [made.event]);
    background.run(this.#live.tend(live));
    return made.decision;
  }

  /** Takes rewards for a decision; they are committed when this returns. @throws ApiError */
  async feedback(
    tenantId: string,
    decisionId: string,
    rewards: Readonly<Record<string, number>>,
    background: Background,
  ): Promise<FeedbackResult> {
    const live = await this.#get(tenantId, { id: decisionId.slice(0, experimentIdBytes * 2) }, 'decision');
    checkRewards(live.stored.definition, rewards);
    const events = rewardEvents(live.stored, decisionId, rewards, this.#ports.clock.now());
    const waitingSinceMs = this.#queue.decidedAtMs(decisionId);
    const { stored, decidedAtMs: storedAtMs } = await this.#store.addRewards(tenantId, decisionId, events);
    const decidedAtMs = storedAtMs ?? waitingSinceMs;
    const isNew = ({ subject }: StoredEvent) => stored.has(subject);
    await this.#live.apply(
      live,
      events.filter(isNew).map(({ event }) => event),
    );
    background.run(this.#live.tend(live));
    const names = Object.keys(rewards);
    const isLate = decidedAtMs !== null && this.#ports.clock.now() > decidedAtMs + live.stored.definition.window_ms;
    return {
      recorded: names.filter((name) => stored.has(rewardSubject(decisionId, name))),
      known: names.filter((name) => !stored.has(rewardSubject(decisionId, name))),
      ...{ decidedAtMs, isLate },
    };
  }

  /** Takes what a call under a decision has shown; null where it failed, which counts as the worst. Never throws. */
  async measure(decision: Decision, measured: Measurement | null): Promise<void> {
    const { clock, log } = this.#ports;
    const { experiment, id } = decision;
    const { definition } = experiment;
    const rewards = measured === null ? worstRewards(definition) : measuredRewards(definition, measured);
    const events = rewardEvents(experiment, id, rewards, clock.now());
    for (const event of events) this.#queue.add(event);
    try {
      const live = await this.#live.get(experiment.tenantId, { id: experiment.id });
      if (live === null) return;
      await this.#live.apply(
        live,
        events.map(({ event }) => event),
      );
      await this.#live.tend(live);
    } catch (thrown) {
      // They are in the queue, from which the database gets them, and from there the memory of all isolates.
      log.write('warn', 'measured rewards were not applied at once', { reason: String(thrown) });
    }
  }

  /** The analytics at this moment. @throws ApiError */
  async analyse(tenantId: string, name: string, alpha: number): Promise<{ stored: StoredExperiment; report: unknown }> {
    const live = await this.#fresh(tenantId, name);
    const atMs = this.#ports.clock.now();
    const report = await answering(() =>
      this.#live.use(live, (core) => {
        core.apply({ tick: { atMs } });
        return core.report(atMs, alpha);
      }),
    );
    return { stored: live.stored, report };
  }

  /** What another policy would have earned on the logged decisions whose rewards are complete. @throws ApiError */
  async whatIf(tenantId: string, name: string, target: OffPolicyTarget, confidence: number): Promise<unknown> {
    const { clock, module } = this.#ports;
    const { stored } = await this.#fresh(tenantId, name);
    const { definition } = stored;
    if (definition.policy.kind === 'optimise') {
      throw new ApiError('invalid_request', 'Points of a continuous space have no propensities to estimate from.');
    }
    const logged = await this.#store.decisions(stored, clock.now() - definition.window_ms, loggedDecisionsMax);
    const records = logged.flatMap(({ rewards, ...decision }) => {
      const reward = wholeReward(definition, rewards);
      return reward === null ? [] : [{ ...decision, reward }];
    });
    if (records.length < 2) {
      throw new ApiError('invalid_request', 'Fewer than two decisions have a whole reward and a window that is over.');
    }
    const live = await module();
    return answering(async () => live.run((analytics) => analytics.offPolicy(records, target, confidence)));
  }

  /** Refuses a definition or arms that the core does not take. */
  async #check(stored: StoredExperiment, arms: readonly StoredEvent[]): Promise<void> {
    const module = await this.#ports.module();
    await answering(async () =>
      module.run((analytics) => {
        const core = analytics.begin(toCoreDefinition(stored.definition));
        try {
          for (const { event } of arms) core.apply(event);
        } finally {
          core.free();
        }
      }),
    );
  }

  /** Stores a declaration that comes after all that are there, however fast they follow each other. */
  async #storeArm(
    live: LiveExperiment,
    arm: string,
    settings: Settings,
    active: boolean,
  ): Promise<DescribedExperiment> {
    const { tenantId, name } = live.stored;
    const arms = await this.#live.use(live, (core) => core.arms);
    const presentAtMs = arms.find((other) => other.name === arm)?.atMs ?? 0;
    const atMs = Math.max(this.#ports.clock.now(), presentAtMs + 1);
    const event = armEvent(live.stored, arm, settings, active, atMs);
    if (active) await this.#check(live.stored, [event]);
    const stored = await this.#store.add(tenantId, [event]);
    if (!stored.has(event.subject)) {
      throw new ApiError('overloaded', `The arm "${arm}" was changed by another call at the same moment; try again.`);
    }
    return this.describe(tenantId, name);
  }

  async #get(
    tenantId: string,
    by: { readonly name: string } | { readonly id: string },
    what: 'experiment' | 'decision' = 'experiment',
  ): Promise<LiveExperiment> {
    const live = await this.#live.get(tenantId, by);
    if (live !== null) return live;
    const named = 'name' in by ? `There is no experiment named "${by.name}".` : `There is no such ${what}.`;
    throw new ApiError('experiment_not_found', named);
  }

  /** The experiment with everything that is stored now. */
  async #fresh(tenantId: string, name: string): Promise<LiveExperiment> {
    const live = await this.#get(tenantId, { name });
    await this.#queue.flush();
    await this.#live.renew(live);
    return live;
  }

  async #running(tenantId: string, name: string): Promise<LiveExperiment> {
    const live = await this.#fresh(tenantId, name);
    checkRunning(live);
    return live;
  }
}

function checkRunning({ stored: { name, endedAtMs } }: LiveExperiment): void {
  if (endedAtMs !== null) throw new ApiError('experiment_ended', `The experiment "${name}" has ended.`);
}

function checkRewards({ rewards: declared }: Definition, rewards: Readonly<Record<string, number>>): void {
  const stranger = Object.keys(rewards).find((name) => !declared.some((reward) => reward.name === name));
  if (stranger === undefined) return;
  const known = declared.map(({ name }) => name).join(', ');
  const message = `There is no reward named "${stranger.slice(0, 80)}"; there are: ${known}.`;
  throw new ApiError('invalid_request', message, { parameter: 'rewards' });
}

const rewardSubject = (decisionId: string, reward: string): string => `reward:${decisionId}:${reward}`;

function rewardEvents(
  { tenantId, id: experimentId }: StoredExperiment,
  decisionId: string,
  rewards: Readonly<Record<string, number>>,
  atMs: number,
): StoredEvent[] {
  return Object.entries(rewards).map(([name, value]) => ({
    ...{ tenantId, experimentId, subject: rewardSubject(decisionId, name), decisionId, atMs },
    event: { feedback: { id: decisionId, atMs, rewards: { [name]: value } } },
  }));
}

function armEvent(
  { tenantId, id: experimentId }: StoredExperiment,
  arm: string,
  settings: Settings,
  active: boolean,
  atMs: number,
): StoredEvent {
  const event = { arm: { atMs, arm, settings, active } };
  return { ...{ tenantId, experimentId, subject: `arm:${arm}:${atMs}`, decisionId: null, atMs }, event };
}

function decisionEvent({ tenantId, id: experimentId }: StoredExperiment, event: CoreEvent): StoredEvent {
  const { id, atMs } = (event as { readonly decide: DecideEvent }).decide;
  return { ...{ tenantId, experimentId, subject: decisionSubject(id), decisionId: id, atMs }, event };
}

function toDecision(experiment: StoredExperiment, id: string, choice: CoreChoice, arms: readonly CoreArm[]): Decision {
  const { definition } = experiment;
  const { propensity } = choice;
  const shared = definition.settings;
  if (choice.point.length > 0) {
    const settings = { ...shared, ...settingsAt(definition, choice.point) };
    return { ...{ id, experiment, arm: null, settings, propensity }, proposed: null };
  }
  const arm = arms[choice.arm];
  const other = arms[choice.proposed];
  const isShadowed = definition.shadow && other !== undefined;
  return {
    ...{ id, experiment, arm: arm?.name ?? null, settings: { ...shared, ...arm?.settings }, propensity },
    proposed: isShadowed ? { arm: other.name, propensity: choice.proposedPropensity } : null,
  };
}

/** Turns the core's refusals into failures that the client may see. */
async function answering<Result>(call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (thrown) {
    if (!(thrown instanceof AnalyticsRefused)) throw thrown;
    const message = `${thrown.message.charAt(0).toUpperCase()}${thrown.message.slice(1)}.`;
    throw new ApiError(failureOf(thrown.code), message, { cause: thrown });
  }
}

function failureOf(code: string) {
  switch (code) {
    case 'definition_invalid':
    case 'event_invalid':
    case 'record_invalid':
      return 'invalid_request';
    case 'no_arm':
      return 'no_arm';
    case 'experiment_full':
      return 'overloaded';
    default:
      return 'internal';
  }
}
