// What was dropped or picked, with each file's path below it. Folders are read to their last file.

import type { NewFile } from "../../stores/uploadStore";

export interface Dropped {
  files: NewFile[];
  /** Folders that hold nothing, which no file would bring along. */
  emptyFolders: string[];
}

/** Must be called before the drop event is over: the browser forgets its entries then. */
export function readDrop(data: DataTransfer): Promise<Dropped> {
  const entries: FileSystemEntry[] = [];
  const plain: NewFile[] = [];
  for (const item of data.items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry();
    const file = entry ? null : item.getAsFile();
    if (entry) entries.push(entry);
    else if (file) plain.push({ file, relativePath: file.name }); // dragged out of another page
  }
  return readAll(entries, plain);
}

export function readPicked(list: FileList): NewFile[] {
  return [...list].map((file) => ({ file, relativePath: file.webkitRelativePath || file.name }));
}

async function readAll(entries: FileSystemEntry[], plain: NewFile[]): Promise<Dropped> {
  const found: Dropped = { files: [...plain], emptyFolders: [] };
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
