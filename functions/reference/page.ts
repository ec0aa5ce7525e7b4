/**
 * The reference page at `/docs`: the OpenAPI document as HTML that needs no script and nothing from another address.
 * Pure: the document in, the page out.
 */

interface Schema {
  readonly $ref?: string;
  readonly example?: unknown;
  readonly [keyword: string]: unknown;
}

type Content = Record<string, { readonly schema?: Schema } | undefined>;

interface Operation {
  readonly summary?: string;
  readonly security?: readonly unknown[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: { readonly content?: Content };
  readonly responses?: Record<string, { readonly description?: string; readonly content?: Content } | undefined>;
}

/** The part of an OpenAPI 3.1 document that the page shows. */
export interface ReferenceDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths?: Record<string, object | undefined>;
  readonly components?: { readonly schemas?: Record<string, unknown> };
}

const methods = ['get', 'post', 'put', 'patch', 'delete'] as const;

const style = `
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}
h2{margin-top:2.5rem;border-top:1px solid #ddd;padding-top:1rem;font-size:1.1rem}
code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:#f5f5f4;padding:.8rem;overflow:auto}
.method{font-weight:700;margin-right:.6rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
@media (prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#242424}h2{border-color:#444}a{color:#8bb8ff}}`;

/** Text as HTML shows it. */
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);

const asJson = (value: unknown): string => escapeHtml(JSON.stringify(value, null, 2));

/** The page for `document`. */
export function referencePage(document: ReferenceDocument): string {
  const { title, version, description = '' } = document.info;
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = (item as Record<string, unknown> | undefined)?.[method];
      return operation === undefined ? [] : [{ method, path, operation: operation as Operation }];
    }),
  );
  const contents = operations.map(
    ({ method, path }) =>
      `<li><a href="#${anchor(method, path)}"><code>${method.toUpperCase()} ${escapeHtml(path)}</code></a></li>`,
  );
  const schemas = Object.entries(document.components?.schemas ?? {}).map(
    ([name, schema]) => `<h2 id="schema-${escapeHtml(name)}">${escapeHtml(name)}</h2><pre>${asJson(schema)}</pre>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)} reference</title><style>${style}</style></head><body>
<h1>${escapeHtml(title)} <small>${escapeHtml(version)}</small></h1><p>${escapeHtml(description)} The same as
<a href="openapi.json">OpenAPI 3.1</a>.</p><ul>${contents.join('')}</ul>
${operations.map(({ method, path, operation }) => section(method, path, operation, document)).join('\n')}
<h1>Schemas</h1>${schemas.join('\n')}</body></html>`;
}

const anchor = (method: string, path: string): string => escapeHtml(`${method}-${path.replace(/[^\w]+/g, '-')}`);

function section(method: string, path: string, operation: Operation, document: ReferenceDocument): string {
  const { summary = '', parameters = [], requestBody, responses = {}, security = [] } = operation;
  const rows = Object.entries(responses).map(
    ([status, response]) =>
      `<tr><td><code>${escapeHtml(status)}</code></td><td>${escapeHtml(response?.description ?? '')}</td><td>${schemaNames(response?.content)}</td></tr>`,
  );
  const names = parameters.map(
    (parameter) => `<code>${escapeHtml(parameter.name)}</code> (${escapeHtml(parameter.in)})`,
  );
  return `<h2 id="${anchor(method, path)}"><span class="method">${method.toUpperCase()}</span><code>${escapeHtml(path)}</code></h2>
<p>${escapeHtml(summary)}${security.length > 0 ? '. Needs a key.' : ''}</p>
${names.length > 0 ? `<p>Parameters: ${names.join(', ')}</p>` : ''}
${requestBody === undefined ? '' : `<p>Body: ${schemaNames(requestBody.content)}</p>${exampleOf(requestBody.content, document)}`}
<table>${rows.join('')}</table>`;
}

/** Links to the schemas of a body, by the kinds in which it comes. */
function schemaNames(content: Content = {}): string {
  return Object.entries(content)
    .map(([type, entry]) => {
      const name = entry?.schema?.$ref?.split('/').at(-1);
      const link = name === undefined ? '' : `<a href="#schema-${escapeHtml(name)}">${escapeHtml(name)}</a> `;
      return `${link}<code>${escapeHtml(type)}</code>`;
    })
    .join(', ');
}

/** The body's example, from the schema itself or from its properties' examples; nothing where there is none. */
function exampleOf(content: Content = {}, document: ReferenceDocument): string {
  const schema = content['application/json']?.schema;
  const name = schema?.$ref?.split('/').at(-1);
  const resolved = (name === undefined ? schema : document.components?.schemas?.[name]) as Schema | undefined;
  const properties = Object.entries((resolved?.properties ?? {}) as Record<string, Schema>);
  const examples = properties.flatMap(([key, { example }]) => (example === undefined ? [] : [[key, example] as const]));
  const example = resolved?.example ?? (examples.length === 0 ? undefined : Object.fromEntries(examples));
  return example === undefined ? '' : `<pre>${asJson(example)}</pre>`;
}
