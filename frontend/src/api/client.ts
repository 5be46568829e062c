// The one way to the studio's REST API: session cookie, CSRF, JSON both ways, and errors as values.

import type { ErrorBody } from "./shapes";

export type { ErrorBody };

export class ApiError extends Error {
  readonly status: number;
  readonly body: ErrorBody;

  constructor(status: number, body: ErrorBody) {
    super(body.message);
    this.name = "ApiError";
    this.status = status;
    this.body = body;
  }

  get code(): string {
    return this.body.code;
  }

  /** Every problem, one per field; a single one where the studio named only one. */
  get problems(): readonly ErrorBody[] {
    return this.body.errors?.length ? this.body.errors : [this.body];
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export interface CallOptions {
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export function withQuery(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") search.set(key, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export function csrfToken(): string {
  return /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
}

export function toApiError(status: number, text: string): ApiError {
  try {
    const body = JSON.parse(text) as Partial<ErrorBody>;
    if (typeof body.code === "string" && typeof body.message === "string") {
      return new ApiError(status, { field: null, params: {}, ...body } as ErrorBody);
    }
  } catch {
    // Not ours: a proxy's page, or nothing at all.
  }
  const message = `The studio answered ${status}.`;
  return new ApiError(status, { code: "unexpected", message, field: null, params: { status } });
}

/** Send one request and return the raw answer; throws ApiError for refusals and for no answer. */
export async function send(method: string, path: string, options: CallOptions = {}) {
  const isForm = options.body instanceof FormData;
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (options.body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(withQuery(path, options.query), {
      method,
      headers,
      credentials: "same-origin",
      signal: options.signal,
      body: isForm ? (options.body as FormData) : JSON.stringify(options.body),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    const message = "The studio cannot be reached.";
    throw new ApiError(0, { code: "unreachable", message, field: null, params: {} });
  }
  if (!response.ok) throw toApiError(response.status, await response.text());
  return response;
}

export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const response = await send(method, path, options);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal) =>
  call<T>("GET", path, { query, signal });
export const post = <T>(path: string, body: unknown = {}, headers?: Record<string, string>) =>
  call<T>("POST", path, { body, headers });
export const put = <T>(path: string, body: unknown) => call<T>("PUT", path, { body });
export const patch = <T>(path: string, body: unknown) => call<T>("PATCH", path, { body });
export const remove = (path: string) => call<undefined>("DELETE", path);
