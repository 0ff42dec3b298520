"use strict";
// Draws /openapi.json. Nothing is kept: the token lives in its input alone.

const $ = (id) => document.getElementById(id);
let spec;

/** Makes an element; strings become text, never markup. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/** Comments of the contract: paragraphs, lists, and code between backticks. */
function prose(text) {
  const inline = (line) =>
    line.split("`").map((part, at) => (at % 2 ? h("code", null, part) : part));
  return (text || "").split(/\n\n|\n(?=- )/).filter(Boolean)
    .map((block) => h("p", null, inline(block.replace(/\n/g, " ").replace(/^- /, "· "))));
}

function resolve(schema) {
  if (!schema || !schema.$ref) return schema || {};
  const target = schema.$ref.slice(2).split("/").reduce((at, key) => at[key], spec);
  return { ...target, ...(schema.description && { description: schema.description }) };
}

function typeOf(schema) {
  const name = schema.$ref && schema.$ref.split("/").pop().split(".").pop();
  const own = resolve(schema);
  if (own.type === "array") return typeOf(own.items || {}) + "[]";
  if (own.additionalProperties) return "map of " + typeOf(own.additionalProperties);
  return name || own.format || [own.type].flat()[0] || "any";
}

function rulesOf(schema) {
  const own = resolve(schema);
  const words = {
    minLength: "min length", maxLength: "max length", pattern: "pattern", minimum: "≥", maximum: "≤",
    exclusiveMinimum: ">", exclusiveMaximum: "<", minItems: "min items", maxItems: "max items",
  };
  const rules = Object.keys(words).filter((key) => key in own).map((key) => `${words[key]} ${own[key]}`);
  if (own.enum) rules.push(own.enum.join(" | "));
  return rules.join(" · ");
}

function row(name, schema, required, description, depth) {
  return h("tr", { class: "deep" + depth },
    h("td", null, h("code", null, name), required ? h("span", { class: "must", title: "required" }, " *") : null),
    h("td", { class: "type" }, typeOf(schema)),
    h("td", null, prose(description), h("span", { class: "rule" }, rulesOf(schema))));
}

/** The fields of a schema, those of inner ones below their own. */
function rows(schema, depth = 0) {
  const own = resolve(schema);
  const inner = own.type === "array" ? resolve(own.items) : own;
  return Object.entries(inner.properties || {}).flatMap(([name, field]) => [
    row(name, field, (inner.required || []).includes(name), resolve(field).description, depth),
    ...(depth < 3 ? rows(field, depth + 1) : []),
  ]);
}

function table(found) {
  return found.length ? h("table", null, h("tbody", null, found)) : null;
}

function exampleOf(schema, depth = 0) {
  const own = resolve(schema);
  if (own.examples) return own.examples[0];
  if (own.enum) return own.enum[0];
  switch ([own.type].flat()[0]) {
    case "array": return depth < 3 ? [exampleOf(own.items, depth + 1)] : [];
    case "integer": return own.minimum || 0;
    case "number": return 0;
    case "boolean": return false;
    case "string": return own.format === "uuid" ? "00000000-0000-4000-8000-000000000000" : "";
    default: {
      const fields = depth < 3 ? Object.entries(own.properties || {}) : [];
      return Object.fromEntries(fields.map(([name, field]) => [name, exampleOf(field, depth + 1)]));
    }
  }
}

/** Indents JSON without reading its numbers: `100.50` stays `100.50`. */
function pretty(text) {
  let depth = 0;
  return text.replace(/"(?:\\.|[^"\\])*"|[{[]\s*[}\]]|[{}[\],:]/g, (token) => {
    const line = () => "\n" + "  ".repeat(depth);
    if (token === "{" || token === "[") { depth += 1; return token + line(); }
    if (token === "}" || token === "]") { depth -= 1; return line() + token; }
    if (token === ",") return token + line();
    return token === ":" ? ": " : token;
  });
}

/** The first media type of some content, and what it holds. */
function mediaOf(holder) {
  const [type, media] = Object.entries((holder && holder.content) || {})[0] || [];
  return type && { type, ...media };
}

function exampleText(media) {
  const example = "example" in media ? media.example : exampleOf(media.schema);
  // One message in each line where messages stream.
  return media.type === "application/x-ndjson" ? JSON.stringify(example) : JSON.stringify(example, null, 2);
}

/** What a form asks for: the request as fetch and curl take it. */
function requestOf(form, path, verb, media) {
  const headers = {};
  const query = new URLSearchParams();
  let target = path;
  for (const input of form.querySelectorAll("input")) {
    if (input.dataset.in === "path") target = target.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (!input.value) continue;
    else if (input.dataset.in === "header") headers[input.name] = input.value;
    else for (const value of input.value.split("many" in input.dataset ? "," : "\0")) query.append(input.name, value.trim());
  }
  const body = form.querySelector("textarea");
  if (body) headers["Content-Type"] = media.type;
  const search = query.size ? "?" + query : "";
  return { url: location.origin + target + search, method: verb.toUpperCase(), headers, body: body ? body.value : undefined };
}

/** The request as a command, with the token's name in place of the token. */
function curlOf({ url, method, headers, body }, secured) {
  const quoted = (text) => "'" + text.replace(/'/g, "'\\''") + "'";
  const parts = ["curl" + (method === "GET" ? "" : " -X " + method) + " " + quoted(url)];
  if (secured) parts.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(headers)) parts.push("-H " + quoted(`${name}: ${value}`));
  if (body !== undefined) parts.push("--data-binary " + quoted(body));
  return parts.join(" \\\n  ");
}

/** Shows what arrives as it arrives: streams have no end to wait for. */
async function send(request, output, stop) {
  const token = $("token").value.trim();
  const headers = { ...request.headers, ...(token && { Authorization: "Bearer " + token }) };
  output.replaceChildren("…");
  try {
    const answer = await fetch(request.url, { ...request, headers, signal: stop });
    const shown = ["x-correlation-id", "etag", "ratelimit", "retry-after", "x-idempotent-replay"]
      .filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
    const head = [`${answer.status} ${answer.statusText}`, ...shown, "", ""].join("\n");
    const reader = answer.body && answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part; reader && !(part = await reader.read()).done;) output.replaceChildren(head + (text += part.value));
    const whole = /json$/.test(answer.headers.get("content-type") || "") && !/ndjson/.test(answer.headers.get("content-type"));
    output.replaceChildren(head + (whole ? pretty(text) : text));
  } catch (error) {
    output.append("\n" + error);
  }
}

function tryIt(path, verb, operation) {
  const output = h("pre", { hidden: true, "aria-live": "polite" });
  const media = mediaOf(operation.requestBody);
  const inputs = operation.parameters.map((parameter) => h("label", null, h("code", null, parameter.name),
    h("input", {
      name: parameter.name, "data-in": parameter.in, required: parameter.required, placeholder: typeOf(parameter.schema),
      "data-many": parameter.schema.type === "array", value: parameter.example,
    })));
  let stop = new AbortController();
  const submit = (event) => {
    event.preventDefault();
    stop.abort();
    stop = new AbortController();
    output.hidden = false;
    send(requestOf(form, path, verb, media), output, stop.signal);
  };
  const copy = async (event) => {
    const command = curlOf(requestOf(form, path, verb, media), operation.security.length);
    output.hidden = false;
    output.replaceChildren(command);
    // Without HTTPS a browser keeps its clipboard to itself: then it is there to be copied by hand.
    if (navigator.clipboard) await navigator.clipboard.writeText(command).then(() => flash(event.target), () => {});
  };
  const form = h("form", { onsubmit: submit }, inputs,
    media ? h("textarea", { "aria-label": "Body", spellcheck: "false" }) : null,
    h("div", { class: "buttons" }, h("button", null, "Send"),
      h("button", { type: "button", class: "quiet", onclick: copy }, "Copy as curl")));
  if (media) form.querySelector("textarea").value = exampleText(media);
  return [h("h3", null, "Try it"), form, output];
}

function flash(button) {
  const text = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = text; }, 1200);
}

function method(path, verb, operation) {
  const body = mediaOf(operation.requestBody);
  const success = Object.entries(operation.responses).find(([status]) => status.startsWith("2"));
  const media = mediaOf(success[1]);
  const parameters = operation.parameters.map((one) => row(one.name, one.schema, one.required, one.description, 0));
  const scopes = operation.security.flatMap((one) => one.bearer || []);
  const access = operation.security.length ? [(operation["x-roles"] || ["signed in"]).join(" or "), ...scopes] : ["public"];
  const inside = () => [
    h("p", null, access.map((one) => h("span", { class: "mark" }, one)),
      operation.deprecated ? h("span", { class: "mark must" }, "deprecated") : null), prose(operation.description),
    parameters.length ? h("h3", null, "Parameters") : null, table(parameters),
    body ? h("h3", null, "Body", h("small", null, " " + body.type)) : null, body ? table(rows(body.schema)) : null,
    h("h3", null, `Answer ${success[0]}`, media ? h("small", null, " " + Object.keys(success[1].content).join(", ")) : null),
    prose(success[1].description), media ? table(rows(media.schema)) : null,
    media && media.example !== undefined ? h("pre", null, JSON.stringify(media.example, null, 2)) : null,
    h("h3", null, "Problems"),
    table(Object.entries(operation.responses).filter((one) => one !== success && !one[0].startsWith("2"))
      .map(([status, one]) => h("tr", null, h("td", null, h("code", null, status)), h("td", null, prose(resolve(one).description))))),
    tryIt(path, verb, operation),
  ];
  // What nobody opens is not drawn.
  const draw = (event) => {
    if (event.target === card && card.open && card.children.length === 1) {
      card.append(h("div", null, inside().flat().filter(Boolean)));
    }
  };
  const card = h("details", { class: operation.deprecated ? "method old" : "method", id: operation.operationId, ontoggle: draw },
    h("summary", null, h("span", { class: "verb " + verb }, verb), h("span", { class: "path" }, path),
      h("span", { class: "brief" }, operation.summary.replace(/`/g, "").split(/(?<=\.) /)[0])));
  return card;
}

function draw() {
  const wanted = $("filter").value.toLowerCase();
  const operations = Object.entries(spec.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => ({ path, verb, operation })));
  const fits = ({ path, verb, operation }) =>
    `${verb} ${path} ${operation.summary} ${operation.tags}`.toLowerCase().includes(wanted);
  $("index").replaceChildren();
  $("methods").replaceChildren(...(wanted ? [] : prose(spec.info.description)));
  for (const tag of spec.tags) {
    const own = operations.filter((one) => one.operation.tags.includes(tag.name) && fits(one));
    if (!own.length) continue;
    $("index").append(h("h3", null, tag.name), ...own.map(({ path, verb, operation }) =>
      h("a", { href: "#" + operation.operationId },
        h("span", { class: "verb " + verb }, verb), h("span", null, path))));
    $("methods").append(h("h2", null, tag.name), ...prose(tag.description),
      ...own.map(({ path, verb, operation }) => method(path, verb, operation)));
  }
  reveal();
}

function reveal() {
  const card = document.getElementById(location.hash.slice(1));
  if (card) { card.open = true; card.scrollIntoView(); }
}

$("filter").addEventListener("input", draw);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("filter").focus();
  }
});
// Light, dark, or as the system has it, which it is at first.
$("theme").addEventListener("click", () => {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const shown = document.documentElement.dataset.theme || (isDark ? "dark" : "light");
  document.documentElement.dataset.theme = shown === "dark" ? "light" : "dark";
});
addEventListener("hashchange", reveal);
fetch("/openapi.json").then((answer) => answer.json()).then((found) => {
  spec = found;
  document.title = spec.info.title + " · API";
  $("title").textContent = spec.info.title;
  $("version").textContent = spec.info.version;
  draw();
}).catch((error) => $("methods").replaceChildren(String(error)));
