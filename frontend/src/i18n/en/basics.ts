// Words that many pages share: verbs, states, units, and what went wrong.

import type { Params } from "../params";
import { GIB, MIB, n } from "../params";

export const basics = {
  app: "Athanor",
  save: "Save",
  cancel: "Cancel",
  close: "Close",
  copy: "Copy",
  copied: "Copied",
  delete: "Delete",
  retry: "Try again",
  search: "Search",
  all: "All",
  none: "None",
  name: "Name",
  more: "More",
  back: "Back",
  optional: "optional",
  loading: "Loading",
  yes: "Yes",
  no: "No",
  total: "Total",
  public: "Public",
  private: "Private",
  never: "never",
  download: "Download",
  points: (amount: string) => `${amount} points`,
  pointsPerHour: (amount: string) => `${amount} points/h`,
  since: (when: string) => `since ${when}`,
  error: {
    title: "This did not work",
    code: (code: string) => `Code: ${code}`,
    pageTitle: "This page stumbled",
    pageText: "Something in the page failed. Nothing on the studio was changed by it.",
    reload: "Reload the page",
    notFoundTitle: "There is nothing here",
    notFoundText: "It may have been removed, or it belongs to somebody else.",
    home: "Go to the home page",
  },
  errors: {
    unreachable: () => "The studio cannot be reached. Nothing was lost: try again in a moment.",
    not_signed_in: () => "You are signed out. Sign in again.",
    not_found: () => "It may have been removed, or it belongs to somebody else.",
    repo_gated: () => "Its files are for those who were let in: ask for access on the repo's page.",
    forbidden: () => "Your role may not do this.",
    points_exhausted: (p: Params) =>
      `${n(p.missing_mpoints, 1000)} points are missing: this needs ${n(p.needed_mpoints, 1000)} and you have ` +
      `${n(p.available_mpoints, 1000)}. Ask your operator for a grant.`,
    drive_full: (p: Params) =>
      typeof p.needed_bytes === "number"
        ? `It needs ${n(p.needed_bytes, MIB)} MiB and ${n(p.free_bytes, MIB)} MiB are free on your drive. Delete something or empty the trash.`
        : "Your drive is full. Delete something or empty the trash, then try again.",
    file_changed: () => "Somebody wrote this file after you opened it.",
    bad_path: (p: Params) =>
      typeof p.message === "string" ? p.message : "No file can have this name or path.",
    disk_fault: () => "The disk could not be read or written. Tell your administrator.",
    not_enough_memory: (p: Params) =>
      `It needs about ${n(p.needed_bytes, GIB)} GiB of memory and the flavor has ${n(p.has_bytes, GIB)} GiB.`,
    dataset_bad_rows: (p: Params) =>
      `${n(p.num_bad)} of ${n(p.num_rows)} rows of the dataset are bad, the first in line ${n(p.line)}.`,
    dataset_empty: () => "The dataset has no row to learn from. Pick or upload another one.",
    no_node_online: () => "No node is online now: the job will wait in the queue until one is.",
    flavor_unavailable: () => "No node that is online can hold this flavor. Pick another one.",
    idempotency_conflict: () =>
      "This was already sent with other contents. Reload the page and try again.",
    username_password_mismatch: () => "The name and the password do not belong together.",
    email_password_mismatch: () => "The address and the password do not belong together.",
    too_many_login_attempts: () => "Too many attempts. Wait a few minutes.",
    unavailable: () => "A part of the studio is away. Try again in a moment.",
  } as Record<string, (params: Params) => string>,
  status: {
    queued: "Queued",
    starting: "Starting",
    running: "Running",
    stopping: "Stopping",
    succeeded: "Succeeded",
    failed: "Failed",
    stopped: "Stopped",
    ready: "Ready",
  },
  reason: {
    completed: "It finished as planned.",
    stopped_by_owner: "Its owner stopped it.",
    stopped_by_operator: "An operator stopped it.",
    points_exhausted: "The points ran out.",
    time_limit: "It reached its time limit.",
    idle: "Nobody used it for a while.",
    bad_spec: "The settings cannot be used.",
    bad_data: "The dataset cannot be used.",
    bad_model: "The model cannot be used.",
    non_finite_loss:
      "The loss became infinite or not a number. A lower learning rate usually helps.",
    out_of_memory: "It needed more memory than its flavor has.",
    disk_full: "The disk of the node is full.",
    killed: "Something outside killed its process.",
    crashed: "It ended with an error.",
    internal_error: "A fault of the platform. Its points were given back.",
    launch_failed: "The node could not start it. Its points were given back.",
    artifact_lost: "The result could not be stored. Its points were given back.",
    node_lost: "The node went away. Its points were given back.",
    no_node: "No node could take it. Its points were given back.",
  } as Record<string, string>,
  role: { member: "Member", operator: "Operator", administrator: "Administrator" },
};
