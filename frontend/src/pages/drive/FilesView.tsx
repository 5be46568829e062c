// One folder's things, or what a search below it found, with what can be done to those chosen.

import { Alert, App, Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { archiveUrl, driveQueries, fileUrl } from "../../api/driveQueries";
import type { DriveEntry } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { useAction } from "../useAction";
import { useUrlState } from "../useUrlState";
import { InterruptedNote, PathBar } from "./DriveHead";
import { EntryTable, useActionItems, type EntryAction } from "./EntryTable";
import { MoveDialog } from "./MoveDialog";
import { ShareDialog } from "./ShareDialog";
import { useDriveActions } from "./useDriveActions";
import { WorksPanel } from "./WorksPanel";

interface Props {
  path: string;
  onOpen: (path: string) => void;
  onFile: (path: string) => void;
}

function download(paths: string[], entries: readonly DriveEntry[]) {
  const [first] = paths;
  const isFile = paths.length === 1 && entries.find((e) => e.path === first)?.kind === "file";
  const link = document.createElement("a");
  link.href = isFile && first ? fileUrl(first) : archiveUrl(paths);
  link.download = "";
  link.click();
}

export function FilesView({ path, onOpen, onFile }: Props) {
  const { text } = useWords();
  const words = text.drive;
  const { message } = App.useApp();
  const [read, write] = useUrlState();
  const { run } = useAction();
  const actions = useDriveActions();
  const [selected, setSelected] = useState<string[]>([]);
  const [renaming, setRenaming] = useState<string | null>(null);
  const [moving, setMoving] = useState<string[] | null>(null);
  const [sharing, setSharing] = useState<string | null>(null);
  const [q, sort, page] = [read("q"), read("sort") || "name", Number(read("page")) || 1];
  const list = useQuery({ ...driveQueries.list(path, sort, page), enabled: !q });
  const found = useQuery({ ...driveQueries.search(path, q), enabled: Boolean(q) });
  const entries = (q ? found.data?.results : list.data?.results) ?? [];
  const chosen = entries.filter((entry) => selected.includes(entry.path));
  const items = useActionItems(chosen);

  const trash = async (paths: string[]) => {
    const gone = await actions.trash(paths);
    setSelected([]);
    const undo = async () => {
      for (const entry of gone) await actions.restore(entry.id);
    };
    void message.open({
      type: "success",
      duration: 8,
      content: (
        <>
          {words.trashed(gone.length)}{" "}
          <Button size="small" type="link" onClick={() => void run(undo)}>
            {words.undo}
          </Button>
        </>
      ),
    });
  };
  const act = (action: EntryAction, paths: string[]) => {
    if (action === "download") download(paths, entries);
    else if (action === "rename") setRenaming(paths[0] ?? null);
    else if (action === "move") setMoving(paths);
    else if (action === "share") setSharing(paths[0] ?? null);
    else if (action === "trash") void run(() => trash(paths));
    else void run(() => actions.work(action, paths, path));
  };
  const rename = (entry: DriveEntry, name: string | null) => {
    setRenaming(null);
    if (name && name !== entry.name) void run(() => actions.rename(entry.path, name));
  };
  const goTo = async (work: Promise<unknown>, done?: string) => {
    const isDone = await run(() => work, done);
    if (isDone) setSelected([]);
    setMoving(null);
  };
  return (
    <section className="panel flush" aria-label={words.list}>
      <PathBar
        path={path}
        words={q}
        onOpen={onOpen}
        onSearch={(to) => write({ q: to, page: "" })}
      />
      <InterruptedNote />
      <WorksPanel />
      {chosen.length > 0 && (
        <div className="row drive-bar" role="toolbar" aria-label={words.selected(chosen.length)}>
          <strong className="num">{words.selected(chosen.length)}</strong>
          {items.map(({ key, label, ...rest }) => (
            <Button key={key} size="small" {...rest} onClick={() => act(key, selected)}>
              {label}
            </Button>
          ))}
          <Button size="small" type="text" onClick={() => setSelected([])}>
            {words.clear}
          </Button>
        </div>
      )}
      {q && found.data && !found.data.is_complete && (
        <Alert type="info" title={words.searchCut} banner />
      )}
      <Loaded<unknown> query={q ? found : list}>
        {() => (
          <EntryTable
            entries={entries}
            total={q ? entries.length : (list.data?.count ?? 0)}
            page={page}
            sort={sort}
            isFound={Boolean(q)}
            selected={chosen.map((entry) => entry.path)}
            renaming={renaming}
            onSelect={setSelected}
            onOpen={(entry) => (entry.kind === "folder" ? onOpen(entry.path) : onFile(entry.path))}
            onRename={rename}
            onAct={act}
            onPage={(to, by) =>
              write({ page: to > 1 ? String(to) : "", sort: by === "name" ? "" : by })
            }
          />
        )}
      </Loaded>
      {moving && (
        <MoveDialog
          paths={moving}
          from={path}
          onClose={() => setMoving(null)}
          onMove={(to) => void goTo(actions.move(moving, to), words.moved(moving.length))}
          onCopy={(to) => void goTo(actions.work("copy", moving, to))}
        />
      )}
      {sharing && <ShareDialog path={sharing} onClose={() => setSharing(null)} />}
    </section>
  );
}
