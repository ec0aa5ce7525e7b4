/** Plots as SVG, made here so that the page needs no script. Pure: figures in, markup out. */
import type { ShownTraffic } from '../shown.ts';
import { escapeHtml } from './markup.ts';

/** One line of an interval plot. */
export interface IntervalLine {
  readonly label: string;
  readonly middle: number;
  readonly low: number;
  readonly high: number;
  /** Drawn bold. */
  readonly isBest: boolean;
  /** What stands to the right of it. */
  readonly note: string;
}

const width = 720;
const labelWidth = 180;
const noteWidth = 180;
const lineHeight = 26;
const plotWidth = width - labelWidth - noteWidth;

/** Colours that differ in lightness too, for those who do not tell hues apart. */
const colours = ['#2b6cb0', '#dd6b20', '#2f855a', '#b83280', '#718096', '#d69e2e', '#553c9a', '#0987a0'];

/** The colour of the arm at a position. */
export const colourOf = (position: number): string => colours[position % colours.length] ?? '#000';

const rounded = (value: number): string => String(Number(value.toPrecision(3)));
const at = (value: number): string => value.toFixed(1);

/** Means or effects with their intervals, one below the other, on one axis from `from` to `to`. */
export function intervalPlot(lines: readonly IntervalLine[], from: number, to: number, title: string): string {
  const height = lines.length * lineHeight + 34;
  const reach = to > from ? to - from : 1;
  const x = (value: number): number => labelWidth + (Math.min(to, Math.max(from, value)) - from) * (plotWidth / reach);
  const rows = lines.map(({ label, middle, low, high, isBest, note }, row) => {
    const y = row * lineHeight + 16;
    const weight = isBest ? ' font-weight="700"' : '';
    return `<g><title>${escapeHtml(label)}: ${rounded(middle)}, from ${rounded(low)} to ${rounded(high)}</title>
<text x="${labelWidth - 8}" y="${y + 4}" text-anchor="end"${weight}>${escapeHtml(label.slice(0, 30))}</text>
<line x1="${at(x(low))}" x2="${at(x(high))}" y1="${y}" y2="${y}" stroke="currentColor" stroke-width="${isBest ? 3 : 1.5}"/>
<circle cx="${at(x(middle))}" cy="${y}" r="${isBest ? 5.5 : 4}" fill="${isBest ? colourOf(2) : colourOf(0)}"/>
<text x="${width - noteWidth + 8}" y="${y + 4}"${weight}>${escapeHtml(note)}</text></g>`;
  });
  const bottom = lines.length * lineHeight + 6;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const value = from + part * reach;
    const where = at(x(value));
    return `<line class="grid" x1="${where}" x2="${where}" y1="4" y2="${bottom}"/>
<text class="tick" x="${where}" y="${bottom + 16}" text-anchor="middle">${rounded(value)}</text>`;
  });
  return framed(title, height, [...ticks, ...rows].join('\n'));
}

/** The decisions of each span of time as one bar, its colours the arms' shares. */
export function trafficPlot(traffic: readonly ShownTraffic[], arms: readonly string[], title: string): string {
  const [first, last] = [traffic.at(0), traffic.at(-1)];
  if (first === undefined || last === undefined) return '';
  const plotHeight = 140;
  const spans = Math.round((last.start_ms - first.start_ms) / first.width_ms) + 1;
  const barWidth = width / spans;
  const totals = traffic.map(({ decisions }) => Object.values(decisions).reduce((sum, count) => sum + count, 0));
  const most = Math.max(1, ...totals);
  const bars = traffic.map(({ start_ms: start, decisions }) => {
    const left = ((start - first.start_ms) / first.width_ms) * barWidth;
    let top = plotHeight;
    return arms.map((arm, position) => {
      const count = Object.hasOwn(decisions, arm) ? (decisions[arm] ?? 0) : 0;
      const tall = (count / most) * plotHeight;
      top -= tall;
      if (count === 0) return '';
      return `<rect x="${at(left)}" y="${at(top)}" width="${at(Math.max(1, barWidth - 1))}" height="${at(tall)}" \
fill="${colourOf(position)}"><title>${escapeHtml(arm)}: ${count}, from ${timeOf(start)}</title></rect>`;
    });
  });
  const axis = `<text class="tick" x="0" y="${plotHeight + 16}">${timeOf(first.start_ms)}</text>
<text class="tick" x="${width}" y="${plotHeight + 16}" text-anchor="end">${timeOf(last.start_ms + last.width_ms)}</text>
<text class="tick" x="0" y="10">${most}</text>`;
  return framed(title, plotHeight + 22, `${bars.flat().join('\n')}${axis}`);
}

const timeOf = (milliseconds: number): string => new Date(milliseconds).toISOString().slice(0, 16).replace('T', ' ');

function framed(title: string, height: number, inner: string): string {
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${inner}</svg>`;
}
