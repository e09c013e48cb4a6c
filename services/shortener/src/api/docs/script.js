// Renders the OpenAPI document and sends what is asked for. Whatever comes from the document or from an answer becomes
// text and never markup. The key is nowhere but in its field.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
// Formats whose names say more than "string" to a reader.
const FORMATS = ["date-time", "date", "uri", "ipv6"];
// Nested schemas that are shown before a reader has to look into the document.
const DEPTH_MAX = 4;

const $ = (id) => document.getElementById(id);
let spec;

// An element with properties and children; strings become text, with `…` as code.
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function prose(text = "") {
  return text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

function resolved(value) {
  if (!value || !value.$ref) return value || {};
  const parts = value.$ref.slice(2).split("/");
  const found = parts.reduce((at, part) => at[part.replace(/~1/g, "/").replace(/~0/g, "~")], spec);
  return { ...found, ...(value.description ? { description: value.description } : {}) };
}

// What a schema allows, in a few words.
function typeOf(given) {
  const schema = resolved(given);
  const types = [schema.type || []].flat();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf || schema.oneOf) return [...new Set((schema.anyOf || schema.oneOf).map(typeOf))].join(" | ");
  if (schema.allOf) return typeOf(schema.allOf[0]);
  if (types[0] === "array") return `[${typeOf(schema.items)}]${types.includes("null") ? " | null" : ""}`;
  if (schema.maxLength === 0) return "empty";
  const format = FORMATS.includes(schema.format) ? schema.format : "string";
  const kind = types.map((type) => (type === "string" ? format : type)).join(" | ") || "any";
  const least = schema.minimum ?? (schema.minLength > 1 ? schema.minLength : undefined);
  const most = schema.maximum ?? schema.maxLength;
  if (least === undefined && (most === undefined || most === Number.MAX_SAFE_INTEGER)) return kind;
  return `${kind} (${least ?? ""}…${most === Number.MAX_SAFE_INTEGER ? "" : (most ?? "")})`;
}

// The fields of an object, and of what is in it.
function fields(given, depth = 0) {
  const schema = resolved(given);
  if (schema.allOf) return schema.allOf.map((part) => fields(part, depth));
  if (schema.oneOf) return schema.oneOf.map((part) => [prose(resolved(part).description || ""), fields(part, depth)]).flat(2);
  if ([schema.type || []].flat()[0] === "array") return fields(schema.items, depth);
  if (!schema.properties || depth >= DEPTH_MAX) return null;
  const required = schema.required || [];
  const items = Object.entries(schema.properties).map(([name, property]) =>
    make("li", {}, make("code", {}, name), " ",
      make("span", { className: "type" }, typeOf(property) + (required.includes(name) ? ", required" : "")), " ",
      prose(resolved(property).description), fields(property, depth + 1)));
  return make("ul", { className: "fields" }, items);
}

// A body to begin with: the schema's own example, or what is required.
function example(given, depth = 0) {
  const schema = resolved(given);
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choice = schema.allOf || schema.anyOf || schema.oneOf;
  if (choice) return example(choice[0], depth);
  const type = [schema.type || []].flat()[0];
  if (type === "array") return depth < DEPTH_MAX ? [example(schema.items, depth + 1)] : [];
  if (type !== "object") return { integer: 1, number: 1, boolean: true, string: "" }[type] ?? null;
  const names = Object.keys(schema.properties || {}).filter((name) => (schema.required || []).includes(name));
  return Object.fromEntries(names.map((name) => [name, example(schema.properties[name], depth + 1)]));
}

// The input of a parameter; what is left empty is not sent.
function input(parameter, id) {
  const schema = resolved(parameter.schema);
  const types = [schema.type || []].flat();
  const choices = types.includes("boolean") ? [true, false] : schema.enum;
  if (choices) {
    const options = choices.map((value) => make("option", { value: String(value) }, String(value)));
    return make("select", { id, required: !!parameter.required }, make("option", { value: "" }, "not sent"), options);
  }
  if (types.includes("array")) return make("textarea", { id, rows: 2, placeholder: "one a line", spellcheck: false });
  const placeholder = schema.default === undefined ? "" : `${schema.default}`;
  return make("input", { id, type: "text", required: !!parameter.required, placeholder, spellcheck: false, autocomplete: "off" });
}

// What the form asks for.
function requestOf(operation) {
  const { method, parameters, inputs, body, kind } = operation;
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  parameters.forEach((parameter, at) => {
    const given = inputs[at].value;
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(given));
    else if (given === "") return;
    else if (parameter.in === "header") headers[parameter.name] = given;
    else if (inputs[at].tagName === "TEXTAREA") {
      given.split("\n").filter((line) => line !== "").forEach((line) => query.append(parameter.name, line));
    } else query.append(parameter.name, given);
  });
  const content = body && body.value !== "" ? body.value : undefined;
  if (content !== undefined) headers["Content-Type"] = kind.value;
  const text = query.toString();
  return { method: method.toUpperCase(), url: path + (text && `?${text}`), headers, body: content };
}

// A command for a POSIX shell; the key stays out of it.
function curl(request, keyed) {
  const quote = (text) => `'${text.replace(/'/g, "'\\''")}'`;
  const parts = [`curl -X ${request.method} ${quote(location.origin + request.url)}`];
  if (keyed?.in === "query") parts[0] += `"${request.url.includes("?") ? "&" : "?"}${keyed.name}=$HOPLOG_API_KEY"`;
  else if (keyed) parts.push(`-H "${keyed.name}: $HOPLOG_API_KEY"`);
  for (const [name, value] of Object.entries(request.headers)) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  if (request.body !== undefined) parts.push(`--data-binary ${quote(request.body)}`);
  return parts.join(" \\\n  ");
}

async function send(operation, result, button) {
  const request = requestOf(operation);
  const headers = new Headers(request.headers);
  const key = $("key").value;
  button.disabled = true;
  result.hidden = false;
  result.className = "result";
  result.replaceChildren(make("p", {}, "Waiting for the answer…"));
  try {
    if (operation.keyed?.in === "query" && key) {
      request.url += `${request.url.includes("?") ? "&" : "?"}${operation.keyed.name}=${encodeURIComponent(key)}`;
    } else if (operation.keyed && key) headers.set(operation.keyed.name, key);
    const started = performance.now();
    const options = { method: request.method, headers, body: request.body, cache: "no-store", credentials: "omit" };
    const response = await fetch(request.url, options);
    const shown = await content(response);
    const took = Math.round(performance.now() - started);
    result.classList.add(response.ok || response.status === 304 ? "good" : "bad");
    const list = [...response.headers].map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
    result.replaceChildren(make("h3", {}, `${response.status} ${response.statusText} · ${took} ms`), shown,
      make("details", {}, make("summary", {}, "Headers"), make("dl", {}, list.flat())));
  } catch (error) {
    result.classList.add("bad");
    result.replaceChildren(make("p", {}, `Not sent, or not answered: ${error.message}`));
  } finally {
    button.disabled = false;
  }
}

// The body of an answer: an image as such, all else as text.
async function content(response) {
  const kind = response.headers.get("content-type") || "";
  if (kind.startsWith("image/")) {
    const source = URL.createObjectURL(await response.blob());
    const image = make("img", { src: source, alt: "The image that was answered with" });
    image.addEventListener("load", () => URL.revokeObjectURL(source));
    return image;
  }
  const text = await response.text();
  if (text === "") return make("p", { className: "note" }, "No body.");
  let pretty = text;
  if (kind.includes("json")) {
    try {
      pretty = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // It says that it is JSON, and is shown as it came.
    }
  }
  return make("pre", { tabIndex: 0, "aria-label": "Body" }, make("code", {}, pretty));
}

function parameterRows(operation) {
  return operation.parameters.map((parameter, at) => {
    const id = `${operation.id}-${at}`;
    operation.inputs.push(input(parameter, id));
    const star = parameter.required ? make("span", { title: "required" }, " *") : null;
    const note = make("p", { className: "note", id: `${id}-note` }, prose(parameter.description), " ",
      make("span", { className: "type" }, `${parameter.in}, ${typeOf(parameter.schema)}`));
    operation.inputs[at].setAttribute("aria-describedby", note.id);
    return make("div", { className: "parameter" }, make("label", { htmlFor: id }, parameter.name, star), operation.inputs[at], note);
  });
}

function bodyRows(operation, body) {
  const kinds = Object.keys(body.content);
  const id = `${operation.id}-body`;
  const kind = make("select", { ariaLabel: "Type of the body" }, kinds.map((name) => make("option", { value: name }, name)));
  const area = make("textarea", { id, rows: 8, spellcheck: false });
  const schema = make("div", {});
  const show = () => {
    const media = body.content[kind.value];
    const begin = media.example ?? example(media.schema);
    area.value = typeof begin === "string" ? begin : JSON.stringify(begin, null, 2);
    schema.replaceChildren(...[fields(media.schema)].flat(3).filter(Boolean));
  };
  kind.hidden = kinds.length === 1;
  kind.addEventListener("change", show);
  show();
  Object.assign(operation, { body: area, kind });
  return [make("h3", {}, make("label", { htmlFor: id }, "Body")), kind, area, make("details", {}, make("summary", {}, "Fields"), schema)];
}

function answers(responses) {
  const list = Object.entries(responses).map(([status, given]) => {
    const response = resolved(given);
    const schemas = Object.entries(response.content || {}).map(([kind, media]) => {
      const inner = status < "400" ? [fields(media.schema)].flat(3).filter(Boolean) : [];
      return inner.length ? make("details", {}, make("summary", {}, kind), inner) : make("span", { className: "type" }, ` ${kind}`);
    });
    return [make("dt", {}, status), make("dd", {}, prose(response.description), schemas)];
  });
  return make("details", {}, make("summary", {}, "Answers"), make("dl", {}, list.flat()));
}

// The inside of an operation, made when it is first opened.
function fill(operation, inside) {
  const { item, definition } = operation;
  operation.parameters = [...(item.parameters || []), ...(definition.parameters || [])].map(resolved);
  operation.inputs = [];
  const rows = parameterRows(operation);
  const body = definition.requestBody ? bodyRows(operation, resolved(definition.requestBody)) : [];
  const button = make("button", { type: "submit" }, "Send");
  const copy = make("button", { type: "button", className: "quiet" }, "Show curl");
  const command = make("pre", { hidden: true, tabIndex: 0, "aria-label": "Command" });
  const result = make("div", { className: "result", hidden: true, role: "status" });
  const form = make("form", { autocomplete: "off" }, rows.length ? make("h3", {}, "Parameters") : null, rows, body,
    make("div", { className: "buttons" }, button, copy), command, result);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(operation, result, button);
  });
  copy.addEventListener("click", () => {
    command.hidden = false;
    command.textContent = curl(requestOf(operation), operation.keyed);
  });
  inside.append(...(definition.description ? [make("p", {}, prose(definition.description))] : []), form, answers(definition.responses));
}

function card(operation) {
  const inside = make("div", { className: "inside" });
  const summary = make("summary", {}, make("span", { className: `method ${operation.method}` }, operation.method.toUpperCase()),
    make("span", { className: "path" }, operation.path), make("span", { className: "summary" }, operation.definition.summary || ""));
  const details = make("details", { className: "operation", id: operation.id }, summary, inside);
  details.addEventListener("toggle", () => {
    if (details.open && !inside.hasChildNodes()) fill(operation, inside);
  });
  return details;
}

function operations() {
  return Object.entries(spec.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => {
    const definition = item[method];
    // How the key is sent, where there is to be one.
    const [scheme] = (definition.security || spec.security || []).flatMap(Object.keys);
    const keyed = scheme && spec.components.securitySchemes[scheme];
    return { path, method, item, definition, keyed, id: definition.operationId, tag: (definition.tags || ["Other"])[0] };
  }));
}

function render() {
  const all = operations();
  const known = spec.tags || [];
  const names = [...new Set([...known.map((tag) => tag.name), ...all.map((operation) => operation.tag)])];
  $("version").textContent = spec.info.version;
  $("about").append(...prose(spec.info.description));
  for (const name of names) {
    const own = all.filter((operation) => operation.tag === name);
    const about = known.find((tag) => tag.name === name)?.description;
    const links = own.map((operation) => make("li", { "data-for": operation.id },
      make("a", { href: `#${operation.id}` }, operation.definition.summary || operation.path)));
    $("contents").append(make("div", {}, make("h2", {}, name), make("ul", {}, links)));
    $("operations").append(make("section", {}, make("h2", {}, name), about ? make("p", {}, prose(about)) : null, own.map(card)));
  }
  const words = new Map(all.map(({ id, path, method, tag, definition }) =>
    [id, `${id} ${path} ${method} ${tag} ${definition.summary} ${definition.description || ""}`.toLowerCase()]));
  $("filter").addEventListener("input", () => narrow(words, $("filter").value.toLowerCase().trim()));
  $("state").textContent = "";
  window.addEventListener("hashchange", open);
  open();
}

function narrow(words, text) {
  let left = 0;
  for (const [id, known] of words) {
    const hidden = !known.includes(text);
    $(id).hidden = hidden;
    document.querySelector(`li[data-for="${id}"]`).hidden = hidden;
    left += hidden ? 0 : 1;
  }
  for (const group of document.querySelectorAll("main section, #contents > div")) {
    group.hidden = !group.querySelector("details.operation:not([hidden]), li:not([hidden])");
  }
  $("state").textContent = text ? `${left} operations` : "";
}

// Opens the operation that the address names.
function open() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!named || !named.classList.contains("operation")) return;
  named.open = true;
  named.scrollIntoView();
  named.querySelector("summary").focus({ preventScroll: true });
}

$("settings").addEventListener("submit", (event) => event.preventDefault());
fetch("/rest/v3/openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`${response.status}`))))
  .then((document) => {
    spec = document;
    render();
  })
  .catch((error) => {
    $("state").textContent = `The document can't be read: ${error.message}`;
  });
