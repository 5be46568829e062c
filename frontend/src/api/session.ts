// Signing in and out through allauth's headless API.

import { ApiError, csrfToken } from "./client";

const DOOR = "/_allauth/browser/v1/auth";

interface AllauthError {
  message: string;
  code: string;
  param?: string;
}

async function ask(method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(`${DOOR}/${path}`, {
    method,
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

/** Sign in with a password; throws ApiError with allauth's code, such as `username_password_mismatch`. */
export async function signIn(username: string, password: string): Promise<void> {
  const account = username.includes("@") ? { email: username } : { username };
  const response = await ask("POST", "login", { ...account, password });
  // 409: this browser is signed in already, which is what was wanted.
  if (response.ok || response.status === 409) return;
  const answer = (await response.json().catch(() => ({}))) as { errors?: AllauthError[] };
  const first = answer.errors?.[0];
  const code = first?.code ?? (response.status === 429 ? "too_many_login_attempts" : "unexpected");
  const message = first?.message ?? `The studio answered ${response.status}.`;
  throw new ApiError(response.status, { code, message, field: first?.param ?? null, params: {} });
}

export async function signOut(): Promise<void> {
  await ask("DELETE", "session");
}
