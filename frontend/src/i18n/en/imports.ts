// Imports: repos brought in from elsewhere or from one's drive.

import type { Params } from "../params";
import { n } from "../params";

export const imports = {
  title: "Import",
  lead: "Bring a model or a dataset in from another hub, a GGUF file's address, or your drive. It goes on while you look at other pages.",
  begin: "Import",
  formTitle: "A new import",
  from: "From",
  sourceNeeded: "Say where it comes from.",
  examples: "For example",
  example: {
    hf: "Hugging Face",
    other: "Another hub",
    modelscope: "ModelScope",
    drive: "A folder of my drive",
    gguf: "A GGUF file",
  },
  kind: "What it is",
  model: "Model",
  dataset: "Dataset",
  into: "Owner",
  me: (name: string) => `${name} (you)`,
  name: "Name here",
  nameHelp: "If a repo of this name is here, it gets a new revision.",
  nameNeeded: "Give it a name.",
  nameBad: "Begin with a letter or digit; then letters, digits, '.', '_' or '-'.",
  visibility: "Who sees it",
  token: "Token for the source",
  tokenHelp:
    "Only where the source asks for one. It is sealed, and forgotten when the import ends.",
  begun: "The import has begun.",
  list: "Your imports",
  empty: "You have imported nothing yet",
  emptyText: "Fill in the form, and see here how far it is.",
  state: {
    waiting: "Waiting for its turn",
    fetching: "Fetching",
    storing: "Storing",
    done: "Done",
    failed: "Failed",
    cancelled: "Cancelled",
  },
  ending: "Ending",
  looking: "Looking at what there is",
  bytes: (done: string, total: string) => `${done} of ${total}`,
  files: (done: string, total: string) => `${done} of ${total} files`,
  speed: (bytes: string) => `${bytes} per second`,
  progressOf: (name: string) => `How far ${name} is`,
  cancel: "Cancel",
  cancelOf: (name: string) => `Cancel the import of ${name}`,
  retry: "Try again",
  retryOf: (name: string) => `Try the import of ${name} again`,
  retryHelp: "What has come already is kept for a week.",
  retryToken: "Token, if it needs one",
  open: "Open",
  openOf: (name: string) => `Open ${name}`,
  more: (shown: string, all: string) => `The latest ${shown} of ${all}`,
};

export const importErrors: Record<string, (p: Params) => string> = {
  bad_source: () =>
    "This names no source. Write hf://owner/name, modelscope://owner/name, drive:///folder or the address of a .gguf file.",
  address_refused: (p) =>
    `${n(p.host)} is not on the public internet, and imports reach nothing else. Ask the operator to allow it.`,
  gguf_is_model: () => "A GGUF file is a model. Choose Model.",
  no_gguf: (p) => `This is no GGUF file: ${n(p.why)}.`,
  source_empty: () => "The source holds no files.",
  source_refused: (p) =>
    `${n(p.host)} answered ${n(p.status)}. ${
      {
        401: "Give a token.",
        403: "Ask for access there, and give a token.",
        404: "Look up the name.",
      }[n(p.status)] ?? "Try again later."
    }`,
  import_runs: (p) => `${n(p.repo)} is being imported already. Wait until that ends, or cancel it.`,
  import_not_ended: () => "Only an import that failed or was cancelled is tried again.",
  internal_error: () => "A fault of the studio. Its operator's log says more.",
};
