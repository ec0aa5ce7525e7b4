/** The curves as one picture: a panel for each problem, a line with its interval for each engine. */
import { budgets, type Curve } from './quality.ts';

const panel = { width: 300, height: 230, left: 44, right: 12, top: 30, bottom: 34 } as const;
const colours = ['#0b6e4f', '#d1495b', '#2e5eaa', '#edae49', '#7a4fa3', '#66717e', '#00798c', '#9a6324'] as const;
const legendLine = 18;

const x = (budget: number): number => {
  const [first, last] = [budgets[0], budgets[budgets.length - 1] ?? budgets[0]];
  const share = Math.log2(budget / first) / Math.log2(last / first);
  return panel.left + share * (panel.width - panel.left - panel.right);
};

const y = (value: number): number => panel.top + (1 - value) * (panel.height - panel.top - panel.bottom);

const place = (budget: number, value: number): string => `${x(budget).toFixed(1)},${y(value).toFixed(1)}`;

function text(at: readonly [number, number], content: string, style = ''): string {
  return `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${style}>${content}</text>`;
}

function axes(problem: string): string[] {
  const levels = [0, 0.25, 0.5, 0.75, 1];
  const lines = levels.map((level) => {
    const height = y(level).toFixed(1);
    return `<line x1="${panel.left}" x2="${panel.width - panel.right}" y1="${height}" y2="${height}" stroke="#ddd"/>`;
  });
  const right = 'text-anchor="end"';
  const middle = 'text-anchor="middle"';
  return [
    ...lines,
    ...levels.map((level) => text([panel.left - 6, y(level) + 4], String(level), right)),
    ...budgets.map((budget) => text([x(budget), panel.height - panel.bottom + 16], String(budget), middle)),
    text([panel.width / 2, 18], problem, `${middle} font-weight="bold"`),
  ];
}

function line({ points }: Curve, colour: string): string[] {
  const at = points.map((point, index) => ({ ...point, budget: budgets[index] ?? budgets[0] }));
  const upper = at.map(({ budget, mean, halfWidth }) => place(budget, mean + halfWidth));
  const lower = at.map(({ budget, mean, halfWidth }) => place(budget, mean - halfWidth)).reverse();
  return [
    `<polygon points="${[...upper, ...lower].join(' ')}" fill="${colour}" fill-opacity="0.15"/>`,
    `<polyline points="${at.map(({ budget, mean }) => place(budget, mean)).join(' ')}" fill="none" stroke="${colour}" stroke-width="1.6"/>`,
  ];
}

/** The picture, as SVG. */
export function plot(curves: readonly Curve[]): string {
  const engines = [...new Set(curves.map(({ engine }) => engine))];
  const problems = [...new Set(curves.map(({ problem }) => problem))];
  const colour = (engine: string): string => colours[engines.indexOf(engine) % colours.length] ?? colours[0];
  const panels = problems.map((problem, index) => {
    const own = curves.filter((curve) => curve.problem === problem);
    const content = [...axes(problem), ...own.flatMap((curve) => line(curve, colour(curve.engine)))];
    const [column, line_] = [index % 3, Math.floor(index / 3)];
    return `<g transform="translate(${column * panel.width} ${line_ * panel.height})">${content.join('')}</g>`;
  });
  const legend = engines.map((engine, index) => {
    const top = panel.top + index * legendLine;
    const key = `<line x1="${panel.left}" x2="${panel.left + 24}" y1="${top}" y2="${top}" stroke="${colour(engine)}" stroke-width="3"/>`;
    return key + text([panel.left + 32, top + 4], engine);
  });
  const [column, row] = [problems.length % 3, Math.floor(problems.length / 3)];
  const [width, height] = [3 * panel.width, (row + 1) * panel.height];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...panels,
    `<g transform="translate(${column * panel.width} ${row * panel.height})">${legend.join('')}</g>`,
    '</svg>\n',
  ].join('\n');
}
