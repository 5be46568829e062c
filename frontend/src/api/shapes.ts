// The bodies the studio's API speaks, by the names the dashboard uses.

export type Language = "zh" | "en";
export type Role = "member" | "operator" | "administrator";
export type Status =
  "queued" | "starting" | "running" | "stopping" | "succeeded" | "failed" | "stopped";
export type SpecValue = Record<string, unknown>;

export interface Page<T> {
  count: number;
  page: number;
  page_size: number;
  results: T[];
}

export interface Me {
  id: number;
  username: string;
  display_name: string;
  email: string;
  role: Role;
  language: Language | "";
  theme: "light" | "dark" | "";
  date_joined: string;
  has_password: boolean;
  can: { grant_points: boolean; administer: boolean };
  onboarding: {
    has_dataset: boolean;
    has_job: boolean;
    has_adapter: boolean;
    has_conversation: boolean;
  };
}

export interface Token {
  id: number;
  name: string;
  scopes: string[];
  prefix: string;
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

export interface NewToken extends Token {
  token: string;
}

export interface User {
  id: number;
  username: string;
  display_name: string;
  email: string;
  role: Role;
  is_active: boolean;
  date_joined: string;
  last_login: string | null;
  available_mpoints: number;
  held_mpoints: number;
}

export interface SigninLink {
  url: string;
  expires_at: string;
}

export interface Points {
  available_mpoints: number;
  held_mpoints: number;
  total_mpoints: number;
  burn_mpoints_per_hour: number;
  runs_out_at: string | null;
}

export interface StatementLine {
  id: number;
  time: string;
  reason: string;
  note: string;
  job_id: string | null;
  job_name: string | null;
  run_index: number | null;
  available_change_mpoints: number;
  held_change_mpoints: number;
  available_after_mpoints: number;
  held_after_mpoints: number;
  by: string | null;
}

export interface Statement extends Page<StatementLine> {
  totals: {
    available_mpoints: number;
    held_mpoints: number;
    total_mpoints: number;
    sum_available_mpoints: number;
    sum_held_mpoints: number;
  };
}

export interface Flavor {
  name: string;
  title: string;
  cores: number;
  memory_bytes: number;
  num_devices: number;
  device_name: string | null;
  price_mpoints_per_hour: number;
  is_available: boolean;
  why_not: string | null;
}

export interface Node {
  name: string;
  is_online: boolean;
  last_seen_at: string | null;
  cores: number;
  memory_bytes: number;
  disk_free_bytes: number;
  devices: { index: number; name: string; memory_bytes: number }[];
  version: string;
  num_running: number;
}

export interface Repo {
  id: string;
  kind: "model" | "dataset";
  role: "base" | "adapter" | "dataset";
  owner: string;
  summary: string;
  visibility: "public" | "private";
  license: string;
  base_model: string | null;
  tags: string[];
  size_bytes: number;
  num_rows: number | null;
  revision: string;
  updated_at: string;
  created_at: string;
  downloads: number;
  is_mine: boolean;
}

export interface RepoFile {
  path: string;
  size_bytes: number;
  sha256: string;
}

export interface Revision {
  revision: string;
  message: string;
  author: string;
  created_at: string;
  tags: string[];
}

export interface ModelFacts {
  num_params: number;
  hidden_size: number;
  num_layers: number;
  vocab_size: number;
  max_context: number;
  memory_bytes: Record<string, number>;
}

export interface RowProblem {
  line: number;
  field: string;
  code: string;
  problem: string;
  mend: string;
  params?: Record<string, unknown>;
}

export interface DatasetReport {
  num_rows: number;
  num_good: number;
  num_bad: number;
  num_problems: number;
  problems: RowProblem[];
  num_tokens_estimate: number;
  num_supervised_tokens_estimate: number;
  longest_tokens_estimate: number;
}

export interface RepoDetail extends Repo {
  card: string;
  metadata: Record<string, unknown>;
  files: RepoFile[];
  revisions: Revision[];
  facts: ModelFacts | null;
  adapters: string[];
  provenance: Record<string, unknown> | null;
  report: DatasetReport | null;
}

export interface DatasetRow {
  line: number;
  row: Record<string, unknown> | null;
  raw: string | null;
  problems: RowProblem[];
}

export interface DatasetRows {
  columns: string[];
  total: number;
  offset: number;
  rows: DatasetRow[];
}

export interface Artifact {
  name: string;
  role: string;
  path: string | null;
  repo: string | null;
  revision: string | null;
  size_bytes: number | null;
  step: number | null;
}

export interface Run {
  id: string;
  index: number;
  status: Status;
  reason: string;
  message: string;
  node: string | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  last_heartbeat_at: string | null;
  next_seq: number;
  log_bytes: number;
  log_lines: number;
  log_complete: boolean | null;
  exit_code: number | null;
  cost_mpoints: number;
  artifacts: Artifact[];
  latest_metrics: Record<string, number>;
}

export interface Progress {
  stage: string;
  done: number;
  total: number | null;
  unit: string;
  eta_s: number | null;
}

export interface Job {
  id: string;
  name: string;
  kind: string;
  owner: string;
  spec: SpecValue;
  flavor: string;
  status: Status;
  reason: string;
  message: string;
  status_since: string;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  progress: Progress | null;
  cost_mpoints: number;
  held_mpoints: number;
  price_mpoints_per_hour: number;
  queue_position: number | null;
  can_stop: boolean;
  can_retry: boolean;
  can_resume: boolean;
  output_repo: string | null;
  output_revision: string | null;
  run: Run;
  runs: Run[];
}

export interface Refusal {
  code: string;
  message: string;
  field: string | null;
  params: Record<string, unknown>;
  mend: {
    code: string;
    params: Record<string, unknown>;
    set: { flavor?: string; spec?: SpecValue };
  } | null;
}

export interface Estimate {
  ok: boolean;
  peak_memory_bytes: number | null;
  memory_parts: Record<string, number>;
  flavor_memory_bytes: number | null;
  duration_s: number | null;
  num_steps: number | null;
  num_tokens: number | null;
  cost_mpoints: number | null;
  hold_mpoints: number | null;
  available_mpoints: number;
  smallest_flavor: string | null;
  refusals: Refusal[];
  warnings: Refusal[];
}

export interface SpecInfo {
  schema: Record<string, unknown>;
  presets: Record<string, SpecValue>;
}

export type RunEvent = { seq: number; time: number } & (
  | { type: "log"; text: string; first_line: number }
  | { type: "metric"; step: number; values: Record<string, number> }
  | ({ type: "progress" } & Progress)
  | ({ type: "artifact" } & Artifact)
  | { type: "sample"; step: number; prompt: string; completion: string }
  | { type: "endpoint"; url: string }
  | { type: "status"; status: Status; reason: string; message: string }
);

export interface Metrics {
  series: Record<string, [step: number, value: number, time: number][]>;
}

export interface Sample {
  step: number;
  prompt: string;
  completion: string;
  time: string;
}

export interface LogPage {
  first_line: number;
  lines: string[];
  total_lines: number;
  log_bytes: number;
  complete: boolean;
}

export interface LogMatches {
  count: number;
  matches: { line: number; text: string }[];
}

export interface PlaygroundModel {
  id: string;
  base: string | null;
  is_adapter: boolean;
  title: string;
  deployment_status: "none" | "starting" | "ready";
}

export interface ChatSettings {
  models: string[];
  system: string;
  temperature: number;
  top_p: number;
  max_tokens: number;
  seed: number | null;
}

export interface ChatMessage {
  id: string;
  turn: number;
  side: number;
  role: "user" | "assistant";
  model: string | null;
  content: string;
  state: "complete" | "stopped" | "failed";
  error: string | null;
  num_prompt_tokens: number | null;
  num_tokens: number | null;
  tokens_per_s: number | null;
  first_token_ms: number | null;
  created_at: string;
}

export interface ConversationHead {
  id: string;
  title: string;
  settings: ChatSettings;
  created_at: string;
  updated_at: string;
}

export interface Conversation extends ConversationHead {
  messages: ChatMessage[];
}

export interface Deployment {
  id: string;
  model: string;
  status: "starting" | "ready" | "stopping" | "stopped" | "failed";
  message: string;
  node: string | null;
  adapters: string[];
  started_at: string | null;
  last_used_at: string | null;
  job_id: string | null;
}
