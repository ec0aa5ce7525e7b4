/**
 * A search as a page that draws its tree: score as colour, visits as size, the path to the best answer in bold; what
 * belongs to a trial is shown when it is chosen. Made here as SVG and HTML, without a script: no page of ours runs one.
 */
import { promptFor } from './prompts.ts';
import type { SearchState, TrialState } from './state.ts';

/** Characters of each text that the page shows. */
export const shownLengthMax = 4_000;
/** Nodes that are drawn; the page says how many are left out. */
export const nodesDrawnMax = 400;
/** Seconds after which the page of a running search loads itself again. */
export const refreshSeconds = 2;

const rowHeight = 64;
const columnWidth = 40;
const margin = 30;

interface Place {
  readonly x: number;
  readonly y: number;
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
const cut = (text: string): string => (text.length > shownLengthMax ? `${text.slice(0, shownLengthMax)}…` : text);

/** Where each node lies: leaves side by side in the order of asking, parents above the middle of their children. */
function layout(trials: readonly TrialState[]): {
  readonly places: ReadonlyMap<number, Place>;
  readonly width: number;
  readonly height: number;
} {
  const children = new Map<number, number[]>();
  for (const { id, parent } of trials) children.set(parent, [...(children.get(parent) ?? []), id]);
  const depths = new Map<number, number>([[0, 0]]);
  for (const { id, parent } of trials) depths.set(id, (depths.get(parent) ?? 0) + 1);
  const columns = new Map<number, number>();
  let leaves = 0;
  // Leaves get their columns first, by a walk that keeps subtrees together. Children are asked after their parents, so
  // that from the last trial to the first every child has its column before its parent needs it.
  const waiting = [0];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    const below = children.get(id) ?? [];
    if (below.length === 0) columns.set(id, leaves++);
    else waiting.push(...below.toReversed());
  }
  for (const id of [...trials.map((trial) => trial.id).toReversed(), 0]) {
    const below = (children.get(id) ?? []).map((child) => columns.get(child) ?? 0);
    if (below.length > 0) columns.set(id, (Math.min(...below) + Math.max(...below)) / 2);
  }
  const places = new Map<number, Place>();
  for (const [id, depth] of depths) {
    places.set(id, { x: margin + (columns.get(id) ?? 0) * columnWidth, y: margin + depth * rowHeight });
  }
  const height = 2 * margin + Math.max(...depths.values()) * rowHeight;
  return { places, width: 2 * margin + Math.max(0, leaves - 1) * columnWidth, height };
}

/** From red for 0 to green for 1; grey while there is no score. */
const colourOf = ({ score }: TrialState): string =>
  score === null ? '#bbb' : `hsl(${Math.round(score * 120)} 65% 45%)`;

/** The page. */
export function viewOf(state: SearchState): string {
  const { definition, started, status, reason, usage } = state;
  const trials = state.trials.slice(0, nodesDrawnMax);
  const left = state.trials.length - trials.length;
  const [best] = state.answers(1);
  const facts = [
    `${status}${reason === null ? '' : ` (${reason.replaceAll('_', ' ')})`}`,
    `${state.trials.length} of ${state.limits.trials} trials, ${state.failures} failed`,
    `${state.tokens} tokens in ${usage.reduce((sum, { calls }) => sum + calls, 0)} calls`,
    `best score ${best?.score?.toFixed(3) ?? '–'}`,
    definition.algorithm,
    ...(left > 0 ? [`${left} trials more than are drawn`] : []),
  ];
  const refresh = status === 'running' ? `<meta http-equiv="refresh" content="${refreshSeconds}">` : '';
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">${refresh}
<title>Search ${escaped(started.id)}</title><style>${style}</style></head>
<body><h1>Search <code>${escaped(started.id)}</code></h1><p>${facts.map(escaped).join(' · ')}</p>
${drawing(state, trials, best?.trial ?? null)}
${trials.map((trial) => panel(state, trial)).join('\n')}
</body></html>`;
}

function drawing(state: SearchState, trials: readonly TrialState[], best: number | null): string {
  const { places, width, height } = layout(trials);
  const path = new Set(best === null ? [] : state.path(best).map(({ id }) => id));
  const placeOf = (id: number): Place => places.get(id) ?? { x: 0, y: 0 };
  const edges = trials.map(({ id, parent }) => {
    const [from, to] = [placeOf(parent), placeOf(id)];
    const mark = path.has(id) ? ' class="best"' : '';
    return `<line${mark} x1="${from.x}" y1="${from.y}" x2="${to.x}" y2="${to.y}"/>`;
  });
  const nodes = trials.map((trial) => {
    const { x, y } = placeOf(trial.id);
    const radius = 6 + 3 * Math.log2(1 + state.visits(trial.id));
    const mark = path.has(trial.id) ? ' class="best"' : '';
    const title = `Trial ${trial.id}: ${trial.status}${trial.score === null ? '' : `, score ${trial.score.toFixed(3)}`}`;
    return `<a href="#trial-${trial.id}"><circle${mark} cx="${x}" cy="${y}" r="${radius.toFixed(1)}" fill="${colourOf(trial)}"><title>${escaped(title)}</title></circle></a>`;
  });
  const root = placeOf(0);
  return `<div class="tree"><svg width="${width}" height="${height}" role="img" aria-label="The tree of the search">
${edges.join('\n')}
<rect x="${root.x - 7}" y="${root.y - 7}" width="14" height="14"><title>The problem</title></rect>
${nodes.join('\n')}</svg></div>`;
}

function panel(state: SearchState, trial: TrialState): string {
  const parent = state.trial(trial.parent) ?? null;
  const prompt = promptFor(state.definition.messages, parent).map(({ role, content }) => `[${role}]\n${content}`);
  const tokens = trial.usage.reduce((sum, one) => sum + one.input_tokens + one.output_tokens, 0);
  const facts = [
    `${state.definition.arms[trial.arm]?.model ?? ''}`,
    trial.parent === 0 ? 'afresh' : `refines trial ${trial.parent}`,
    `score ${trial.score?.toFixed(3) ?? '–'}`,
    `${tokens} tokens`,
    `${trial.latencyMs} ms`,
  ];
  const texts = [
    ['Prompt', prompt.join('\n\n')],
    ['Answer', trial.text ?? ''],
    ['Feedback', trial.feedback ?? ''],
    ['Failure', trial.failure?.message ?? ''],
  ].filter(([, text]) => text !== '');
  const shown = texts.map(([name = '', text = '']) => `<h3>${name}</h3><pre>${escaped(cut(text))}</pre>`);
  return `<section id="trial-${trial.id}"><h2>Trial ${trial.id}</h2><p>${facts.map(escaped).join(' · ')}</p>${shown.join('')}</section>`;
}

const style = `body{font:15px system-ui,sans-serif;margin:1.5rem;color:#222;background:#fff}h1{font-size:1.2rem}
.tree{overflow:auto;border:1px solid #ddd;border-radius:6px}line{stroke:#999}line.best{stroke:#000;stroke-width:3}
circle{stroke:#fff}circle.best{stroke:#000;stroke-width:2.5}section{display:none}section:target{display:block}
pre{white-space:pre-wrap;background:#f5f5f5;padding:.6rem;border-radius:4px}h3{font-size:.9rem;margin:.8rem 0 .2rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}pre{background:#222}line.best,circle.best{stroke:#fff}rect{fill:#ddd}}`;
