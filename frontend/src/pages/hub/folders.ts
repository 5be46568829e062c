// A flat list of files as folders: what lies directly in one, and how much each folder holds.

import type { RepoFile } from "../../api/shapes";

export interface Entry {
  name: string;
  path: string;
  size_bytes: number;
  /** Of a folder: how many files are below it. None of a file. */
  numFiles?: number;
  file?: RepoFile;
}

export function listFolder(files: readonly RepoFile[], folder: string): Entry[] {
  const prefix = folder ? `${folder}/` : "";
  const folders = new Map<string, Entry>();
  const here: Entry[] = [];
  for (const file of files) {
    if (!file.path.startsWith(prefix)) continue;
    const rest = file.path.slice(prefix.length);
    const slash = rest.indexOf("/");
    if (slash < 0) {
      here.push({ name: rest, path: file.path, size_bytes: file.size_bytes, file });
      continue;
    }
    const name = rest.slice(0, slash);
    const entry = folders.get(name) ?? { name, path: prefix + name, size_bytes: 0, numFiles: 0 };
    entry.size_bytes += file.size_bytes;
    entry.numFiles = (entry.numFiles ?? 0) + 1;
    folders.set(name, entry);
  }
  return [...folders.values(), ...here];
}
