// What was dropped or picked, with each file's path below it. Folders are read to their last file.

import type { NewFile } from "../../stores/uploadStore";

export interface Dropped {
  files: NewFile[];
  /** Folders that hold nothing, which no file would bring along. */
  emptyFolders: string[];
}

/** Must be called before the drop event is over: the browser forgets its entries then. */
export function readDrop(data: DataTransfer): Promise<Dropped> {
  const entries = [...data.items].flatMap((item) => {
    const entry = item.kind === "file" ? item.webkitGetAsEntry() : null;
    return entry ? [entry] : [];
  });
  return readAll(entries);
}

export function readPicked(list: FileList): NewFile[] {
  return [...list].map((file) => ({ file, relativePath: file.webkitRelativePath || file.name }));
}

async function readAll(entries: FileSystemEntry[]): Promise<Dropped> {
  const found: Dropped = { files: [], emptyFolders: [] };
  const todo = [...entries];
  for (let entry = todo.shift(); entry; entry = todo.shift()) {
    const path = entry.fullPath.replace(/^\//, "");
    if (entry.isDirectory) {
      const inside = await listFolder(entry as FileSystemDirectoryEntry);
      if (inside.length === 0) found.emptyFolders.push(path);
      todo.push(...inside);
    } else {
      found.files.push({ file: await openFile(entry as FileSystemFileEntry), relativePath: path });
    }
  }
  return found;
}

async function listFolder(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return all;
    all.push(...some);
  }
}

const openFile = (entry: FileSystemFileEntry): Promise<File> =>
  new Promise((resolve, reject) => entry.file(resolve, reject));
