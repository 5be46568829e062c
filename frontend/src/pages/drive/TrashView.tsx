// What was deleted: it waits here until its owner puts it back or empties the trash.

import { App, Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { driveQueries } from "../../api/driveQueries";
import type { DriveTrashEntry } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";
import { useDriveActions } from "./useDriveActions";

export function TrashView() {
  const { text, format } = useWords();
  const words = text.drive;
  const { modal, message } = App.useApp();
  const actions = useDriveActions();
  const { run } = useAction();
  const [page, setPage] = useState(1);
  const trash = useQuery(driveQueries.trash(page));
  const use = useQuery(driveQueries.use());

  const empty = (id?: string, size = use.data?.trash_bytes ?? 0) =>
    modal.confirm({
      title: id ? words.deleteForGood : words.emptyTrashTitle,
      content: words.emptyTrashText(format.bytes(size)),
      okText: words.deleteForGood,
      okButtonProps: { danger: true },
      onOk: () => run(() => actions.emptyTrash(id)),
    });
  const restore = (entry: DriveTrashEntry) =>
    run(async () => {
      const path = await actions.restore(entry.id);
      void message.success(words.restored(path));
    });
  return (
    <Loaded query={trash}>
      {({ results, count }) => (
        <>
          {count > 0 && (
            <div className="row between drive-bar">
              <span className="muted">{words.trashEmptyText}</span>
              <Button danger onClick={() => empty()}>
                {words.emptyTrash}
              </Button>
            </div>
          )}
          <DataTable<DriveTrashEntry>
            rowKey="id"
            dataSource={results}
            pagination={
              count > 50 ? { current: page, pageSize: 50, total: count, onChange: setPage } : false
            }
            locale={{
              emptyText: <EmptyState title={words.trashEmpty} text={words.trashEmptyText} />,
            }}
            columns={[
              { title: words.trashCol.path, dataIndex: "path", className: "break" },
              {
                title: words.trashCol.size,
                key: "size",
                align: "right",
                className: "num",
                render: (_, entry) => format.bytes(entry.size_bytes),
              },
              {
                title: words.trashCol.when,
                key: "when",
                render: (_, entry) => <RelativeTime iso={entry.trashed_at} />,
              },
              {
                key: "actions",
                align: "right",
                title: <span className="visually-hidden">{words.col.actions}</span>,
                render: (_, entry) => (
                  <span className="row" style={{ justifyContent: "flex-end" }}>
                    <Button size="small" onClick={() => void restore(entry)}>
                      {words.restore}
                    </Button>
                    <Button size="small" danger onClick={() => empty(entry.id, entry.size_bytes)}>
                      {words.deleteForGood}
                    </Button>
                  </span>
                ),
              },
            ]}
          />
        </>
      )}
    </Loaded>
  );
}
