// A thing's name: opens it, or is the field in which it gets another.

import { Input, Tooltip } from "antd";
import { useState } from "react";
import { folderOf } from "../../api/driveQueries";
import type { DriveEntry } from "../../api/shapes";
import { useWords } from "../../i18n";
import { FileOutlined, FolderOutlined, LinkOutlined, WarningOutlined } from "../../widgets/icons";

interface Props {
  entry: DriveEntry;
  isRenaming: boolean;
  isFound: boolean;
  onOpen: (entry: DriveEntry) => void;
  onRename: (entry: DriveEntry, name: string | null) => void;
}

const ICONS = {
  folder: <FolderOutlined style={{ color: "var(--ember)" }} />,
  file: <FileOutlined />,
  link: <LinkOutlined />,
  special: <WarningOutlined />,
};

function RenameField({ entry, onRename }: Pick<Props, "entry" | "onRename">) {
  const { text } = useWords();
  const [name, setName] = useState(entry.name);
  return (
    <Input
      autoFocus
      aria-label={text.drive.renameTo(entry.name)}
      value={name}
      onFocus={(event) => {
        const dot = entry.kind === "file" ? entry.name.lastIndexOf(".") : -1;
        event.target.setSelectionRange(0, dot > 0 ? dot : entry.name.length);
      }}
      onChange={(event) => setName(event.target.value)}
      onPressEnter={(event) => {
        if (!event.nativeEvent.isComposing) onRename(entry, name);
      }}
      onBlur={() => onRename(entry, null)}
      onKeyDown={(event) => {
        if (event.key === "Escape") onRename(entry, null);
      }}
    />
  );
}

export function NameCell({ entry, isRenaming, isFound, onOpen, onRename }: Props) {
  const { text } = useWords();
  if (isRenaming) return <RenameField entry={entry} onRename={onRename} />;
  const isOpening = entry.kind === "folder" || entry.kind === "file";
  const hint = entry.kind === "link" ? text.drive.link : text.drive.special;
  const folder = folderOf(entry.path);
  return (
    <>
      {isOpening ? (
        <button type="button" className="drive-name" onClick={() => onOpen(entry)}>
          {ICONS[entry.kind]}
          <span className="ellipsis">{entry.name}</span>
        </button>
      ) : (
        <Tooltip title={hint}>
          <span className="drive-name muted">
            {ICONS[entry.kind]}
            <span className="ellipsis">{entry.name}</span>
          </span>
        </Tooltip>
      )}
      {entry.is_clashing && (
        <Tooltip title={text.drive.clash}>
          <WarningOutlined
            style={{ marginInlineStart: 8 }}
            aria-hidden={false}
            role="img"
            aria-label={text.drive.clash}
          />
        </Tooltip>
      )}
      {isFound && folder && <div className="muted small ellipsis">{folder}</div>}
    </>
  );
}
