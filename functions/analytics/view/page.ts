/** The page of an experiment: its analysis as tables and plots, without a script. Pure: the analysis in, the page out. */
import type { ShownReport, ShownTask } from '../shown.ts';
import type { StoredExperiment } from '../store.ts';
import { escapeHtml } from './markup.ts';
import { colourOf, type IntervalLine, intervalPlot, trafficPlot } from './plots.ts';

const style = `
body{font:16px/1.5 system-ui,sans-serif;max-width:54rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}
h2{margin-top:2rem;border-top:1px solid #ddd;padding-top:1rem;font-size:1.15rem}h3{font-size:1rem;margin-bottom:.2rem}
svg{width:100%;height:auto;font:13px system-ui,sans-serif;fill:currentColor}.grid{stroke:#8884;stroke-width:1}
.tick{font-size:11px;opacity:.75}.swatch{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem}
.note{opacity:.8}li{display:inline-block;margin-right:1rem}ul{padding:0}
@media (prefers-color-scheme:dark){body{color:#eee;background:#161616}h2{border-color:#444}}`;

const rounded = (value: number): string => String(Number(value.toPrecision(4)));
const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;

/** The page. */
export function experimentPage({ name, definition, endedAtMs }: StoredExperiment, report: ShownReport): string {
  const arms = [...new Set(report.traffic.flatMap(({ decisions }) => Object.keys(decisions)))].sort();
  const state = endedAtMs === null ? 'It runs.' : 'It has ended.';
  const traffic = trafficPlot(report.traffic, arms, 'Decisions over time, by arm');
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(name)}: experiment</title><style>${style}</style></head><body>
<h1>${escapeHtml(name)}</h1>
<p>Policy ${escapeHtml(definition.policy.kind)}. ${state} ${report.open} decisions await their rewards.</p>
<p class="note">Intervals of means hold at all times at once, for all arms of a task together, with probability
${percent(1 - report.alpha)}: you may look whenever you like, and stop when you like.</p>
${bestPoint(definition, report)}
${report.tasks.map(taskSection).join('\n')}
<h2>Decisions over time</h2>${traffic === '' ? '<p>None yet.</p>' : `${traffic}${legend(arms)}`}
</body></html>`;
}

function bestPoint({ space }: StoredExperiment['definition'], { best_point: best }: ShownReport): string {
  if (best === null) return '';
  const settings = space.map((dimension, position) => {
    const value = best.point[position] ?? 0;
    const text = 'options' in dimension ? (dimension.options[value] ?? '') : rounded(value);
    return `<li><b>${escapeHtml(dimension.name)}</b> ${escapeHtml(text)}</li>`;
  });
  const expected = `The model expects a reward of ${rounded(best.mean)} there, give or take ${rounded(best.deviation)}.`;
  return `<h2>Best point so far</h2><ul>${settings.join('')}</ul><p>${expected}</p>`;
}

function legend(arms: readonly string[]): string {
  const entry = (arm: string, position: number) => {
    const swatch = `<span class="swatch" style="background:${colourOf(position)}"></span>`;
    return `<li>${swatch}${escapeHtml(arm === '' ? 'points' : arm)}</li>`;
  };
  return `<ul>${arms.map(entry).join('')}</ul>`;
}

function taskSection(task: ShownTask): string {
  const title = task.task === '' ? 'Calls without a task' : `Task ${escapeHtml(task.task)}`;
  const [points] = task.arms;
  if (points?.arm === '') {
    const mean = points.count === 0 ? '' : ` Their mean is ${rounded(points.mean)}.`;
    return `<h2>${title}</h2><p>${points.decisions} points were tried; ${points.count} rewards came.${mean}</p>`;
  }
  const lines = task.arms.map((arm): IntervalLine => {
    const { low, high } = arm.interval;
    const label = arm.active ? arm.arm : `${arm.arm} (withdrawn)`;
    const note = `${arm.count} rewards, ${percent(arm.probability)}`;
    return { label, middle: arm.mean, low, high, isBest: arm.arm === task.best, note };
  });
  const means = intervalPlot(lines, 0, 1, 'Mean reward of each arm with its interval');
  return `<h2>${title}</h2>${verdict(task)}
<h3>Mean reward of each arm, its interval, its rewards, and how often it would be chosen now</h3>${means}
${effectsSection(task)}`;
}

function verdict({ best, decided, regret, needed, arms }: ShownTask): string {
  if (best === null) return '<p>No rewards yet.</p>';
  const excluded = arms.filter((arm) => arm.excluded).map((arm) => escapeHtml(arm.arm));
  const sentences = [
    decided
      ? `<b>${escapeHtml(best)}</b> is the best: its interval lies above all others.`
      : `<b>${escapeHtml(best)}</b> leads, and may still turn out not to be the best.`,
    needed === null || decided ? '' : `At these means about ${needed} rewards more would decide it.`,
    regret === null
      ? ''
      : `Regret so far: ${rounded(regret.estimate)} rewards (${rounded(regret.low)} to ${rounded(regret.high)}).`,
    excluded.length === 0 ? '' : `A guard rail excludes ${excluded.join(', ')}.`,
  ];
  return `<p>${sentences.filter((sentence) => sentence !== '').join(' ')}</p>`;
}

function effectsSection({ effects }: ShownTask): string {
  if (effects.length === 0) return '';
  const reach = Math.min(1, Math.max(0.01, ...effects.flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)])));
  const lines = effects.map(({ parameter, setting, effect, low, high, count }): IntervalLine => {
    return { label: `${parameter} = ${setting}`, middle: effect, low, high, isBest: low > 0, note: `${count} rewards` };
  });
  const warning = effects.some(({ confounded }) => confounded)
    ? '<p class="note">The arms do not tell all parameters apart: these effects are some of many that fit.</p>'
    : '';
  const plot = intervalPlot(lines, -reach, reach, 'What each setting adds to the reward, with its interval');
  return `<h3>What each setting adds to the reward</h3>${warning}${plot}`;
}
