// The keys with which a person reaches their machines over SSH.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button } from "antd";
import { useState } from "react";
import { remove } from "../../api/client";
import { machineQueries } from "../../api/machineQueries";
import type { SshKey } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";
import { AddKeyDialog } from "./AddKeyDialog";
import { MakeKeyDialog } from "./MakeKeyDialog";

export function SshKeysPanel() {
  const { text } = useWords();
  const words = text.machines.keys;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const keys = useQuery(machineQueries.keys());
  const [open, setOpen] = useState<"add" | "make" | null>(null);
  const close = () => setOpen(null);

  const forget = (key: SshKey) =>
    modal.confirm({
      title: words.removeTitle(key.name),
      content: words.removeText,
      okText: text.machines.remove,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(`/api/ssh-keys/${key.id}/`);
          await cache.invalidateQueries({ queryKey: ["ssh-keys"] });
        }),
    });
  return (
    <section className="panel flush" id="ssh-keys">
      <div className="panel-head">
        <h2>{words.title}</h2>
        <div className="machine-tools">
          <Button onClick={() => setOpen("make")}>{words.make}</Button>
          <Button type="primary" onClick={() => setOpen("add")}>
            {words.add}
          </Button>
        </div>
      </div>
      <p className="muted" style={{ margin: "0 20px 14px" }}>
        {words.text}
      </p>
      <Loaded query={keys}>
        {(list) => (
          <DataTable<SshKey>
            rowKey="id"
            dataSource={list}
            pagination={false}
            locale={{ emptyText: <EmptyState title={words.none} /> }}
            columns={[
              { title: words.name, dataIndex: "name", className: "break" },
              {
                title: words.fingerprint,
                dataIndex: "fingerprint",
                className: "mono break",
                responsive: ["md"],
              },
              {
                title: words.used,
                key: "used",
                render: (_, { last_used_at }) =>
                  last_used_at ? (
                    <RelativeTime iso={last_used_at} />
                  ) : (
                    <span className="muted">{text.never}</span>
                  ),
              },
              {
                key: "remove",
                align: "right",
                title: <span className="visually-hidden">{text.machines.remove}</span>,
                render: (_, key) => (
                  <Button size="small" danger onClick={() => forget(key)}>
                    {text.machines.remove}
                  </Button>
                ),
              },
            ]}
          />
        )}
      </Loaded>
      <AddKeyDialog isOpen={open === "add"} onClose={close} />
      <MakeKeyDialog isOpen={open === "make"} onClose={close} />
    </section>
  );
}
