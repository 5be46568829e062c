// A file beside the list: text, notebook, image, table or Markdown; text can be written.

import { Alert, Button, Drawer, Grid } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { driveQueries, fileUrl, folderOf, join, nameOf } from "../../api/driveQueries";
import type { DrivePreview } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { DownloadOutlined, EditOutlined } from "../../widgets/icons";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { Loaded } from "../../widgets/Loaded";
import { TextEditor } from "./TextEditor";

const EDITABLE = new Set(["text", "markdown"]);

function TableShown({ shown }: { shown: DrivePreview }) {
  return (
    <DataTable<{ key: number; row: string[] }>
      size="small"
      pagination={false}
      dataSource={shown.rows.map((row, key) => ({ key, row }))}
      columns={shown.columns.map((title, index) => ({
        title,
        key: index,
        ellipsis: true,
        width: 180,
        render: (_, { row }) => row[index] ?? "",
      }))}
    />
  );
}

function Shown({ path, shown }: { path: string; shown: DrivePreview }) {
  const { text } = useWords();
  const name = nameOf(path);
  if (shown.kind === "image") return <img src={fileUrl(path, true)} alt={name} />;
  if (shown.kind === "markdown") return <LazyMarkdown text={shown.text} />;
  if (shown.kind === "table") return <TableShown shown={shown} />;
  if (shown.kind === "binary") return <p className="muted">{text.drive.preview.none}</p>;
  if (shown.kind === "text") return <pre tabIndex={0}>{shown.text}</pre>;
  return (
    <>
      {shown.cells.map((cell, index) => (
        <div className="drive-cell" key={index}>
          {cell.is_markdown ? (
            <LazyMarkdown text={cell.text} />
          ) : (
            <pre className="source">{cell.text}</pre>
          )}
          {cell.outputs.map((output, number) =>
            output.image ? (
              <img key={number} src={output.image} alt="" />
            ) : (
              <pre key={number}>{output.text}</pre>
            ),
          )}
        </div>
      ))}
    </>
  );
}

export function PreviewPane({
  path,
  onClose,
  onOpen,
}: {
  path: string;
  onClose: () => void;
  onOpen: (path: string) => void;
}) {
  const { text, format } = useWords();
  const words = text.drive.preview;
  const screens = Grid.useBreakpoint();
  const preview = useQuery(driveQueries.preview(path));
  const [editing, setEditing] = useState<DrivePreview | null>(null);
  const shown = preview.data;
  const canEdit = shown && EDITABLE.has(shown.kind) && !shown.is_cut;
  return (
    <Drawer
      open
      size={screens.lg ? 720 : "100%"}
      mask={!screens.lg}
      onClose={onClose}
      title={<span className="break">{nameOf(path)}</span>}
      extra={
        <span className="row">
          {canEdit && !editing && (
            <Button icon={<EditOutlined />} onClick={() => setEditing(shown)}>
              {words.edit}
            </Button>
          )}
          <Button icon={<DownloadOutlined />} href={fileUrl(path)} download>
            {text.download}
          </Button>
        </span>
      }
    >
      <div className="drive-preview" data-testid="preview">
        <Loaded query={preview}>
          {(data) =>
            editing ? (
              <TextEditor
                path={path}
                start={editing}
                onDone={() => setEditing(null)}
                onSavedAs={(name) => onOpen(join(folderOf(path), nameOf(name)))}
              />
            ) : (
              <>
                {data.is_cut && (
                  <Alert type="info" title={words.cut} style={{ marginBottom: 12 }} />
                )}
                {data.num_rows !== null && (
                  <p className="muted num">{words.rows(format.number(data.num_rows))}</p>
                )}
                <Shown path={path} shown={data} />
              </>
            )
          }
        </Loaded>
      </div>
    </Drawer>
  );
}
